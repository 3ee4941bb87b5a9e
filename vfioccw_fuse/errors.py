"""The one error that is meant for a person.

Every layer may raise it, so it stands below all of them and imports nothing. The command line
prints its message as one line and ends with status 1; nothing else catches it.
"""


class UserError(Exception):
    """Something that the user can put right.

    *message* is one line that names the thing and the remedy, for example
    `disk.img: 1000 bytes is not a multiple of 512; pad it with truncate -s %512`. It does not
    begin with the program's name and does not end with a full stop.
    """

    def __init__(self, message: str) -> None:
        """Keep *message*, folded into one line if it has several."""
        self.message = " ".join(message.split("\n"))
        """What `vfioccw: ...` shows: one line, no trailing newline."""
        super().__init__(self.message)
