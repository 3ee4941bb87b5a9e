"""How a session ends: SIGTERM, umount, a connection that is cut; with readers that wait."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import threading

import pytest

from lab.waits import SOON, until


class Readers:
    """Blocked reads in threads, and how they ended."""

    def __init__(self, mount, count):
        self.ends: list[str] = []
        self.threads = [
            threading.Thread(target=self.read, args=(mount.io_irq,), daemon=True)
            for _ in range(count)
        ]
        for thread in self.threads:
            thread.start()
        mount.until_waiting(count)

    def read(self, path):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.read(fd, 8)
        except OSError as error:
            self.ends.append(errno.errorcode[error.errno or 0])
        # The mount may be gone by then.
        with contextlib.suppress(OSError):
            os.close(fd)

    def join(self):
        for thread in self.threads:
            thread.join(SOON)
        return self.ends


@pytest.mark.parametrize("count", [0, 1, 50])
def test_sigterm_ends_readers_and_mount(own, count):
    readers = Readers(own, count)
    socket = os.readlink(own.path / "irqfd")
    own.process.terminate()
    assert own.ended() == "gone\n"
    assert own.process.returncode == 0
    assert readers.join() == ["ENODEV"] * count
    assert not own.mounted()
    assert not os.path.exists(os.path.dirname(socket))


@contextlib.contextmanager
def loaded(own):
    """Three threads read without a pause, until the mount has ended."""

    def load():
        fd = os.open(own.region, os.O_RDWR)
        reads[threading.get_ident()] = 0
        with contextlib.suppress(OSError):
            while True:
                os.pread(fd, 124, 0)
                reads[threading.get_ident()] += 1
        with contextlib.suppress(OSError):
            os.close(fd)

    reads: dict[int, int] = {}
    threads = [threading.Thread(target=load, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(reads) == 3 and min(reads.values()) > 100, "all threads read")
    yield
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()


def test_sigterm_under_load(own):
    with loaded(own):
        own.process.terminate()
        assert own.ended() == "gone\n"


def test_a_handler_that_never_ends_is_cut_off(own):
    def wait_for_ever():
        with contextlib.suppress(OSError):
            own.command("hold it", "control1")

    thread = threading.Thread(target=wait_for_ever, daemon=True)
    thread.start()
    until(lambda: "holds it" in own.statistics()["log"], "the handler waits")
    own.process.terminate()
    assert own.ended() == "gone\n"
    thread.join(SOON)
    assert not thread.is_alive()


def test_umount_ends_the_server(own):
    subprocess.run(["fusermount3", "-u", own.path], check=True)
    assert own.ended() == "gone\n"


def test_umount_is_refused_while_a_read_waits_and_the_mount_goes_on(own):
    readers = Readers(own, 1)
    done = subprocess.run(["fusermount3", "-u", own.path], capture_output=True, check=False)
    assert done.returncode == 1
    own.signal()
    assert readers.join() == []
    subprocess.run(["fusermount3", "-u", own.path], check=True)
    assert own.ended() == "gone\n"


def test_a_lazy_umount_waits_for_the_last_reader(own):
    irq = os.open(own.io_irq, os.O_WRONLY)
    readers = Readers(own, 2)
    subprocess.run(["fusermount3", "-u", "-z", own.path], check=True)
    assert own.process.poll() is None
    os.write(irq, (1).to_bytes(8, "little"))
    until(lambda: sum(thread.is_alive() for thread in readers.threads) == 1)
    own.process.terminate()
    assert own.ended().endswith("gone\n")
    assert readers.join() == ["ENODEV"]
    with contextlib.suppress(OSError):
        os.close(irq)


def test_a_reader_dies_behind_a_lazy_umount_and_the_server_ends(own, start):
    reader = start("xxd", "-l8", "-p", own.io_irq)
    own.until_waiting(1)
    subprocess.run(["fusermount3", "-u", "-z", own.path], check=True)
    reader.send(signal.SIGTERM)
    assert reader.status() == -signal.SIGTERM
    assert own.ended() == "gone\n"


def cut(path):
    """umount -f, or a write to .../abort: the kernel answers for us."""
    device = os.minor(os.stat(path).st_dev)
    control = "/sys/fs/fuse/connections"
    if not os.path.exists(f"{control}/{device}/abort"):
        subprocess.run(["umount", "-f", path], check=False, capture_output=True)
    else:
        with open(f"{control}/{device}/abort", "w") as abort:
            abort.write("1")


def test_a_connection_that_is_cut_ends_the_server(own):
    readers = Readers(own, 3)
    cut(own.path)
    assert own.ended().endswith("gone\n")
    assert readers.join() == ["ECONNABORTED"] * 3


def test_a_connection_that_is_cut_under_load_ends_the_server(own):
    with loaded(own):
        cut(own.path)
        *before, last = own.ended().splitlines()
    # A request or a reply may be on its way at that moment; libfuse and pyfuse3 say so.
    said = r"fuse: reading device: Software caused .*|.*fuse_reply_\* failed with No such file .*"
    assert all(re.fullmatch(said, line) for line in before), before
    assert last == "gone"
