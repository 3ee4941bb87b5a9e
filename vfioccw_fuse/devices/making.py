"""Files that are made as a whole: there is all of one, or none.

It grows under another name, `NAME.new`, and gets its own when it is complete; what fails or is
interrupted leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Final

from ..errors import UserError
from .locks import Use, replacing, using

SUFFIX: Final = ".new"
"""What is appended to the name of a file that is being made."""


@contextlib.contextmanager
def new_file(path: str, *, replace: bool) -> Iterator[int]:
    """Give the descriptor of an empty file that becomes *path* if the context ends well.

    A file of that name that is there already is replaced, as one step, only if *replace* and if
    nobody uses it; it keeps its permissions. UserError for names and files that it cannot be.
    """
    if not replace and os.path.lexists(path):
        raise UserError(f"{path}: exists already; --force replaces it")
    # A device's name would be given to a file, and the device be lost.
    if os.path.lexists(path) and not os.path.isfile(path):
        raise UserError(f"{path}: not an ordinary file; name another")
    with replacing(path) if replace else contextlib.nullcontext():
        work = f"{path}{SUFFIX}"
        try:
            fd = os.open(work, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            raise UserError(
                f"{work}: exists already; another command makes it, or was killed: remove it then"
            ) from None
        except OSError as error:
            raise UserError(f"{path}: cannot be made: {error.strerror}") from None
        try:
            try:
                with using(fd, work, Use.REPLACE):
                    if replace and os.path.exists(path):
                        os.fchmod(fd, stat.S_IMODE(os.stat(path).st_mode))
                    yield fd
            finally:
                os.close(fd)
            with writing(path):
                if replace:
                    os.replace(work, path)
                else:
                    _name(work, path)
        except BaseException:
            os.unlink(work)
            raise


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Make a UserError of an OSError: *path* cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def write_at(fd: int, data: bytes | bytearray, offset: int) -> None:
    """Write all of *data* at *offset*; OSError."""
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def _name(work: str, path: str) -> None:
    """Give *work* the name *path*; FileExistsError if somebody took it meanwhile."""
    try:
        os.link(work, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.rename(work, path)
    else:
        os.unlink(work)
