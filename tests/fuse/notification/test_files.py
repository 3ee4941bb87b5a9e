"""The irq files as eventfds: read, write and several openers, through a real mount."""

import errno
import os
import select
import signal
import threading

import pytest

from lab.waits import SOON, until

from .conftest import number

FULL = 2**64 - 2


@pytest.fixture
def io_irq(mount):
    fd = os.open(mount.io_irq, os.O_RDWR | os.O_NONBLOCK)
    yield fd
    os.close(fd)


def fails(number, function, *arguments):
    with pytest.raises(OSError, check=lambda error: error.errno == number):
        function(*arguments)


def test_read_gives_the_counter_in_host_order_and_zeroes_it(mount, io_irq):
    mount.signal(5)
    mount.signal(7)
    assert os.read(io_irq, 8) == number(12)
    fails(errno.EAGAIN, os.read, io_irq, 8)


def test_read_of_more_than_8_bytes_gives_8(mount, io_irq):
    mount.signal()
    assert os.read(io_irq, 4096) == number(1)


def test_read_of_fewer_than_8_bytes_is_refused_and_takes_nothing(mount, io_irq):
    mount.signal()
    fails(errno.EINVAL, os.read, io_irq, 7)
    assert os.read(io_irq, 8) == number(1)


def test_offsets_mean_nothing(mount, io_irq):
    os.pwrite(io_irq, number(3), 12345)
    assert os.pread(io_irq, 8, 1 << 40) == number(3)


def test_write_adds(mount, io_irq):
    assert os.write(io_irq, number(3)) == 8
    assert os.write(io_irq, number(4) + b"more") == 8
    assert os.read(io_irq, 8) == number(7)


@pytest.mark.parametrize("data", [b"1234567", b"1", number(2**64 - 1)])
def test_write_of_too_little_or_too_much_is_refused(mount, io_irq, data):
    fails(errno.EINVAL, os.write, io_irq, data)
    fails(errno.EAGAIN, os.read, io_irq, 8)


def test_write_that_would_overflow_is_refused_without_blocking(mount, io_irq):
    os.write(io_irq, number(FULL))
    fails(errno.EAGAIN, os.write, io_irq, number(1))
    assert os.read(io_irq, 8) == number(FULL)


def test_write_that_would_overflow_waits_for_a_read(mount, io_irq, python):
    os.write(io_irq, number(FULL - 1))
    writer = python(
        "import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY);"
        "print(os.write(fd, (2).to_bytes(8, sys.byteorder)))",
        mount.io_irq,
    )
    mount.until_waiting(1)
    assert os.read(io_irq, 8) == number(FULL - 1)
    assert writer.output() == b"8\n"
    assert os.read(io_irq, 8) == number(2)


def test_a_blocked_reader_gets_the_value(mount, start):
    # It reads until the end of the file, which never comes; hexadecimal digits come out by 16.
    reader = start("od", "-An", "-v", "-w8", "-tx8", mount.io_irq, bufsize=0)
    for value in range(1, 4):
        mount.until_waiting(1)
        mount.signal(value)
        until(lambda: mount.statistics()["irqs"][0]["count"] == 0)
    mount.until_waiting(1)
    reader.send(signal.SIGTERM)
    assert reader.status() == -signal.SIGTERM


def test_one_counter_wakes_one_reader_the_oldest_first(mount):
    results: list[bytes] = []
    lock = threading.Lock()

    def read(name: bytes) -> None:
        fd = os.open(mount.io_irq, os.O_RDONLY)
        value = os.read(fd, 8)
        with lock:
            results.append(name + value)
        os.close(fd)

    threads = []
    for index in range(3):
        threads.append(threading.Thread(target=read, args=(b"%d" % index,), daemon=True))
        threads[-1].start()
        mount.until_waiting(index + 1)
    for index in range(3):
        mount.signal(10 + index)
        threads[index].join(SOON)
        assert results == [b"%d" % i + number(10 + i) for i in range(index + 1)]
        assert mount.waiting() == 2 - index


def test_all_openers_share_one_counter(mount, io_irq):
    other = os.open(mount.io_irq, os.O_RDWR | os.O_NONBLOCK)
    os.write(io_irq, number(9))
    assert os.read(other, 8) == number(9)
    fails(errno.EAGAIN, os.read, io_irq, 8)
    os.close(other)


def test_the_lines_are_separate(mount, io_irq):
    mount.signal(2, index=1)
    fails(errno.EAGAIN, os.read, io_irq, 8)
    crw = os.open(mount.crw_irq, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(crw, 8) == number(2)
    os.close(crw)


def test_an_event_before_the_read_is_not_lost(mount):
    mount.signal()
    fd = os.open(mount.io_irq, os.O_RDONLY)
    assert os.read(fd, 8) == number(1)
    os.close(fd)


def test_closing_the_descriptor_does_not_disturb_the_read_that_waits(mount):
    results: list[bytes] = []
    fd = os.open(mount.io_irq, os.O_RDONLY)
    thread = threading.Thread(target=lambda: results.append(os.read(fd, 8)), daemon=True)
    thread.start()
    mount.until_waiting(1)
    os.close(fd)
    assert mount.waiting() == 1
    mount.signal(6)
    thread.join(SOON)
    assert results == [number(6)]


def test_a_line_that_is_gone_ends_its_reads(own):
    results: list[int | None] = []

    def read() -> None:
        fd = os.open(own.io_irq, os.O_RDONLY)
        try:
            os.read(fd, 8)
        except OSError as error:
            results.append(error.errno)
        os.close(fd)

    threads = [threading.Thread(target=read, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    own.until_waiting(3)
    fd = os.open(own.io_irq, os.O_RDWR | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    own.command("shutdown")
    for thread in threads:
        thread.join(SOON)
    assert results == [errno.ENODEV] * 3
    fails(errno.ENODEV, os.read, fd, 8)
    fails(errno.ENODEV, os.write, fd, number(1))
    assert poll.poll(SOON * 1000) == [(fd, select.POLLERR | select.POLLHUP)]
    os.close(fd)


def test_shell_tools_read_one_value(mount, start):
    for command in (
        ("dd", f"if={mount.io_irq}", "bs=8", "count=1", "status=none"),
        ("head", "-c8", mount.io_irq),
        ("od", "-An", "-tx8", "-N8", mount.io_irq),
        ("xxd", "-l8", "-p", mount.io_irq),
    ):
        reader = start(*command)
        mount.until_waiting(1)
        mount.signal(0x2A)
        text = reader.output()
        assert text in (number(42), b" 000000000000002a\n", number(42).hex().encode() + b"\n")
