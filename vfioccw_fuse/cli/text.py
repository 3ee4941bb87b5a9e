"""Plain text: columns and dumps. It needs nothing but Python: `vfioccw ls` starts at once."""

from collections.abc import Iterable, Sequence

EBCDIC = "cp037"
"""The code page in which bytes are shown as EBCDIC."""
_ROW = 16  # bytes a line of a dump


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


def _shown(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "." for c in text)


def columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Give lines of left-aligned columns, two blanks apart; cheap enough for thousands of rows."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{width}}}" for width in widths)
    for row in rows:
        yield form.format(*row).rstrip()
