"""Plain text: columns and dumps. It needs nothing but Python: `vfioccw ls` starts at once."""

from collections.abc import Iterable, Sequence

_ROW = 16  # bytes a line of a dump


def dump(data: bytes | memoryview) -> Iterable[str]:
    """Give lines as `xxd` writes them: offset, 16 bytes in hexadecimal, the same as ASCII."""
    for at in range(0, len(data), _ROW):
        piece = bytes(data[at : at + _ROW])
        pairs = " ".join(piece[i : i + 2].hex() for i in range(0, len(piece), 2))
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        yield f"{at:08x}: {pairs:39}  {text}"


def columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Give lines of left-aligned columns, two blanks apart; cheap enough for thousands of rows."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{width}}}" for width in widths)
    for row in rows:
        yield form.format(*row).rstrip()
