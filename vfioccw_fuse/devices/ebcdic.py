"""EBCDIC: the code pages in which cards and lines are written.

What a page has is Python's codec of it. It has none for 1047, the page of z/OS's C and shell, which
is 037 with six characters in other places.
"""

from __future__ import annotations

import codecs
from typing import Final

from ..errors import UserError
from .options import Option, Owner

DEFAULT: Final = "037"
_CODECS: Final = ("037", "273", "424", "500", "875", "1026", "1140")
_AS_1047: Final = bytes.maketrans(b"\x5f\xb0\xba\xbb\xad\xbd", b"\xb0\x5f\xad\xbd\xba\xbb")
"""¬ ^ [ ] Ý ¨ as 037 has them, to where 1047 does."""
_AS_037: Final = bytes.maketrans(b"\xb0\x5f\xad\xbd\xba\xbb", b"\x5f\xb0\xba\xbb\xad\xbd")


class CodePage:
    """One code page."""

    def __init__(self, name: str) -> None:
        """*name* is its number, such as "037"; LookupError for one that is not known."""
        self.name = name
        """Its number, in three digits or more."""
        self._is_1047 = name == "1047"
        self._codec = codecs.lookup(f"cp{DEFAULT if self._is_1047 else name}")

    def encode(self, text: str) -> bytes:
        """*text* in EBCDIC, a byte for each character; UnicodeEncodeError for one it has not."""
        data, _ = self._codec.encode(text)
        return data.translate(_AS_1047) if self._is_1047 else data

    def decode(self, data: bytes) -> str:
        """The text of EBCDIC *data*; a byte without a meaning is U+FFFD."""
        text, _ = self._codec.decode(data.translate(_AS_037) if self._is_1047 else data, "replace")
        return text


PAGES: Final = {name: CodePage(name) for name in (*_CODECS, "1047")}
"""By number."""


def _parse(text: str) -> CodePage:
    page = PAGES.get(text.lower().removeprefix("cp").removeprefix("ibm-"))
    if page is None:
        raise UserError(f"one of {', '.join(PAGES)}")
    return page


CODE_PAGE: Final = Option(
    word="code-page",
    owner=Owner.DEVICE,
    metavar="NUMBER",
    help=f"EBCDIC code page of what is text in the file: {', '.join(PAGES)}; {DEFAULT} unless said",
    parse=_parse,
)
"""For every device type whose file is a text."""
