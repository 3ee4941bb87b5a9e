"""Storage before a scenario and after it: what its programs have changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ..errors import UserError, shortened
from ..memory.paging import PAGE

Piece = tuple[int, bytes]
"""An address, and the bytes from there on."""


def pieces_of(memory: Any, size: int) -> Iterator[Piece]:
    """Address and bytes of each piece of *memory*; UserError if it is not in *size* bytes."""
    for address, text in memory:
        data = bytes.fromhex(text)
        if type(address) is not int or not 0 <= address <= size - len(data):
            raise UserError(
                f"memory {shortened(repr(address))}: {len(data)} bytes from there are not in "
                f"storage of {size}"
            )
        yield address, data


def picture(fd: int, there: list[Piece], stored: list[Piece]) -> dict[int, bytes]:
    """Page number to page of the storage *fd*, which has the pieces *there*.

    It shows them, and what a scenario itself has *stored* by its end. Other pages are zero.
    """
    pages = {
        page: os.pread(fd, PAGE, page * PAGE)
        for address, data in [*there, *stored]
        for page in range(address // PAGE, (address + len(data)) // PAGE + 1)
    }
    for address, data in stored:
        _overlay(pages, address, data)
    return pages


def changes(fd: int, before: dict[int, bytes], size: int) -> list[list[Any]]:
    """Ranges of storage that differ from *before* (page number to page; others are zero)."""
    found: list[list[Any]] = []
    zeros = bytes(PAGE)
    for page in range(size // PAGE):
        old = before.get(page, zeros)
        new = os.pread(fd, PAGE, page * PAGE)
        if new == old:
            continue
        start = None
        for place in range(PAGE + 1):
            differs = place < PAGE and new[place] != old[place]
            if differs and start is None:
                start = place
            elif not differs and start is not None:
                address = page * PAGE + start
                if found and found[-1][0] + len(found[-1][1]) // 2 == address:
                    found[-1][1] += new[start:place].hex()
                else:
                    found.append([address, new[start:place].hex()])
                start = None
    return found


def _overlay(pages: dict[int, bytes], address: int, data: bytes) -> None:
    """Put *data* at *address* into a picture of storage made of pages."""
    done = 0
    while done < len(data):
        page, place = divmod(address + done, PAGE)
        piece = data[done : done + PAGE - place]
        old = pages.get(page, bytes(PAGE))
        pages[page] = old[:place] + piece + old[place + len(piece) :]
        done += len(piece)
