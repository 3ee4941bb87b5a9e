"""Plain text: columns and dumps. It needs nothing but Python: `vfioccw ls` starts at once."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

EBCDIC = "cp037"
"""The code page in which bytes are shown as EBCDIC."""
_ROW = 16  # bytes a line of a dump
_COLUMN = re.compile(r" *\S+(?: \S+)*? {2,}")
"""What stands before the second column of a line."""
_WIDTHS = ((80, 16), (46, 8), (0, 4))  # columns, and how many bytes of storage a line has then


def dump(data: bytes | memoryview) -> Iterable[str]:
    """Give lines as `xxd` writes them: offset, 16 bytes in hexadecimal, the same as ASCII."""
    for at in range(0, len(data), _ROW):
        piece = bytes(data[at : at + _ROW])
        pairs = " ".join(piece[i : i + 2].hex() for i in range(0, len(piece), 2))
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        yield f"{at:08x}: {pairs:39}  {text}"


def dump_storage(address: int, data: bytes, row: int = _ROW) -> Iterable[str]:
    """Give lines of *row* bytes: address, words in hexadecimal, the same as ASCII and as EBCDIC."""
    words = (row + 3) // 4
    for at in range(0, len(data), row):
        piece = data[at : at + row]
        digits = " ".join(piece[i : i + 4].hex() for i in range(0, len(piece), 4))
        ascii = _shown(piece.decode("ascii", "replace"))
        ebcdic = _shown(piece.decode(EBCDIC))
        yield f"{address + at:08x}: {digits:{words * 9 - 1}}  {ascii:{row}} {ebcdic}".rstrip()


def dump_pieces(
    pieces: Iterable[Sequence[Any]], row: int = _ROW, most: int | None = None
) -> Iterable[str]:
    """Give the lines of `dump_storage` for the first *most* bytes (None: all) of a data area.

    Each piece is address (None: skipped), length, what storage has there as hexadecimal digits.
    """
    for address, length, digits in pieces:
        if most is not None:
            if most <= 0:
                return
            length, most = min(length, most), most - length
        if address is None:
            yield f"skipped  {length} bytes"
        elif digits:
            yield from dump_storage(address, bytes.fromhex(digits)[:length], row)
        else:
            yield f"{address:08x}: {length} bytes are not at hand"


def row_within(columns: int) -> int:
    """How many bytes a line of `dump_storage` has on a terminal of *columns*."""
    return next(row for least, row in _WIDTHS if columns >= least)


def folded(line: str, width: int) -> Iterable[str]:
    """Give *line* in lines of at most *width* letters, broken at blanks.

    All but the first are indented: they go on below the second column of *line*, if it has one
    that begins in the first half of *width*.
    """
    if len(line) <= width:
        return [line]
    first = _COLUMN.match(line)
    indent = first.end() if first else len(line) - len(line.lstrip()) + 4
    if 2 * indent > width:
        indent = min(4, width - 1)
    return textwrap.wrap(
        line, width, subsequent_indent=" " * indent,
        break_on_hyphens=False, replace_whitespace=False,
    )  # fmt: skip


def _shown(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "." for c in text)


def table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Give the lines of `columns`, the first row being the head, as a person can read them.

    On a terminal that is too narrow each row is a block of lines, a column a line.
    """
    lines = list(columns(rows))
    if not sys.stdout.isatty() or max(map(len, lines)) <= shutil.get_terminal_size().columns:
        yield from lines
        return
    head, *rest = rows
    for number, row in enumerate(rest):
        if number:
            yield ""
        yield from columns(list(zip(head, row, strict=True)))


def columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Give lines of left-aligned columns, two blanks apart; cheap enough for thousands of rows."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{width}}}" for width in widths)
    for row in rows:
        yield form.format(*row).rstrip()
