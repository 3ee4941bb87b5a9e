"""A file system without locks, in C on libfuse: with pyfuse3 the kernel always has them."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab.waits import until

_SOURCE = Path(__file__).with_suffix(".c")


@contextlib.contextmanager
def nolocks(path: Path, directory: Path) -> Iterator[Path]:
    """Show the files of *directory* at *path*, which is made; unmounted at the end. Gives *path*.

    The program is built beside *path*.
    """
    program = path.with_name("nolocks.program")
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True)
    subprocess.run(["gcc", "-o", program, _SOURCE, *flags.split()], check=True)
    path.mkdir()
    process = subprocess.Popen(
        [program, directory, path],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C is for us, who end it
    )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or path.is_mount(), "it is mounted")
        assert process.poll() is None, "nolocks did not mount"
        yield path
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(path)], check=False, capture_output=True)
        process.terminate()
        process.wait()
