"""The text file `control` of a subchannel, as it is read: one `word=value` a line, and comments.

The words are those of the options that can be switched. This is the one reader of them.
"""

REFUSED = "# refused: "
"""Before the reason for which the last write was refused, a comment of its own."""


def parse_control(text: str) -> tuple[dict[str, str], str]:
    """Word and value of each line, and why the last write was refused; "" if it was not."""
    values, refused = {}, ""
    for line in text.splitlines():
        if line.startswith(REFUSED):
            refused = line.removeprefix(REFUSED)
        elif not line.startswith("#"):
            word, _, values[word] = line.partition("=")
    return values, refused
