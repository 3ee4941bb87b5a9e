"""The text file `state` of a subchannel, for programs: one `key: value` a line.

Keys are documented in `README.md`; they stay, and new ones may come anywhere. People read the same
lines. This is the one reader of them.
"""


def parse_state(text: str) -> dict[str, str]:
    """The lines `key: value` of *text*; lines of another form are left out."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def is_attached(state: dict[str, str]) -> bool:
    """Whether a client has an eventfd at one of the interrupts: the subchannel is in use."""
    return any(key.endswith(".attached") and value == "1" for key, value in state.items())
