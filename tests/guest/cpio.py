"""Reads an initramfs archive, as a judge of what is written."""

from __future__ import annotations

from pathlib import Path


def entries(path: Path) -> dict[str, bytes]:
    """The files of an initramfs archive."""
    data, at = path.read_bytes(), 0
    found: dict[str, bytes] = {}
    while True:
        head = data[at : at + 110]
        size, name_size = int(head[54:62], 16), int(head[94:102], 16)
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        begin = -(-(at + 110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            return found
        found[name] = data[begin : begin + size]
        at = -(-(begin + size) // 4) * 4
