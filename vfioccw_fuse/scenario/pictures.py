"""Storage before a scenario and after it: what its programs have changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from .. import ofd
from ..errors import UserError
from ..memory.paging import PAGE

Piece = tuple[int, bytes]
"""An address, and the bytes from there on."""


def pieces_of(place: str, memory: list[Any], size: int) -> Iterator[Piece]:
    """Address and bytes of each piece of *memory*.

    UserError, which says *place*, for one that is not in *size* bytes.
    """
    for number, (address, text) in enumerate(memory):
        data = bytes.fromhex(text)
        if address > size - len(data):
            raise UserError(
                f"{place}[{number}]: the {len(data)} bytes are not in storage of {size}"
            )
        yield address, data


def take_room(fd: int, pieces: Iterable[Piece]) -> None:
    """Keep clients who reserve room in the storage *fd* away from *pieces*, until it is closed."""
    for address, data in pieces:
        first = address // PAGE * PAGE
        if data:
            ofd.take(fd, first, -(-(address + len(data) - first) // PAGE) * PAGE)


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
        overlay(pages, address, data)
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


def overlay(pages: dict[int, bytes], address: int, data: bytes) -> None:
    """Put *data* at *address* into a picture of storage made of pages."""
    done = 0
    while done < len(data):
        page, place = divmod(address + done, PAGE)
        piece = data[done : done + PAGE - place]
        old = pages.get(page, bytes(PAGE))
        pages[page] = old[:place] + piece + old[place + len(piece) :]
        done += len(piece)
