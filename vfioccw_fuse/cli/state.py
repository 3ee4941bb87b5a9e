"""The text file `state` of a subchannel, as far as the command line reads it."""


def parse_state(text: str) -> dict[str, str]:
    """Give the lines `key: value` of `text`; lines of another form are left out."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}
