"""The socket that takes a client's eventfds and memory, through a real mount."""

import contextlib
import json
import os
import select
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from lab.client import Connection, events_of
from lab.mounts import SCHID
from lab.waits import SOON, until
from vfioccw_fuse.fuse.irqfd import IrqfdServer
from vfioccw_fuse.vfio.irq import Irq

from .conftest import mounted, number

NOBODY = 65534


@pytest.fixture
def connection(mount):
    connection = Connection(mount.path)
    yield connection
    connection.close()


@pytest.fixture
def eventfd():
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


def count(fd):
    with contextlib.suppress(BlockingIOError):
        return os.eventfd_read(fd)
    return 0


def file_count(mount):
    return events_of(mount.io_irq)


OK = {"ok": True}


def test_the_eventfd_is_signalled_instead_of_the_file(mount, connection, eventfd):
    mount.signal(3)
    assert connection.irq(eventfd) == OK
    mount.signal(4)
    assert count(eventfd) == 4
    assert file_count(mount) == 3


def test_it_is_also_signalled_by_writes_to_the_file(mount, connection, eventfd):
    connection.irq(eventfd)
    fd = os.open(mount.io_irq, os.O_WRONLY)
    os.write(fd, number(6))
    assert count(eventfd) == 6
    os.write(fd, number(2**64 - 2))
    with pytest.raises(BlockingIOError):
        os.write(fd, number(1))
    os.close(fd)
    assert file_count(mount) == 0


def test_it_ends_by_detaching(mount, connection, eventfd):
    connection.irq(eventfd)
    assert connection.irq() == OK
    mount.signal()
    assert count(eventfd) == 0
    assert file_count(mount) == 1
    assert connection.irq() == OK


def test_it_ends_with_the_connection(mount, connection, eventfd, python):
    """Also if the client is killed."""
    client = python(
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.connect(sys.argv[1]); socket.send_fds(s, [sys.argv[2].encode()], [int(sys.argv[3])]);"
        "print(s.recv(99).decode()); sys.stdin.read()",
        mount.path / "irqfd",
        json.dumps({"subchannel": SCHID, "irq": 0}),
        str(eventfd),
        pass_fds=(eventfd,),
        stdin=subprocess.PIPE,
    )
    assert client.line() == '{"ok": true}'
    mount.signal()
    assert count(eventfd) == 1
    client.send(9)
    client.status()
    until(lambda: not mount.statistics()["irqs"][0]["attached"])
    mount.signal(2)
    assert (count(eventfd), file_count(mount)) == (0, 2)


def test_a_blocked_reader_of_the_file_waits_on(mount, connection, eventfd, start):
    reader = start("xxd", "-l8", "-p", mount.io_irq)
    mount.until_waiting(1)
    connection.irq(eventfd)
    mount.signal(9)
    assert count(eventfd) == 9
    assert mount.waiting() == 1
    connection.irq()
    mount.signal(1)
    assert reader.output() == b"0100000000000000\n"


def test_the_next_attachment_of_a_connection_replaces_the_last(mount, connection, eventfd):
    other = os.eventfd(0, os.EFD_NONBLOCK)
    connection.irq(eventfd)
    assert connection.irq(other) == OK
    mount.signal()
    assert (count(eventfd), count(other)) == (0, 1)
    os.close(other)


def test_what_a_connection_has_attached_is_its_own(mount, connection, eventfd):
    other = os.eventfd(0, os.EFD_NONBLOCK)
    second = Connection(mount.path)
    connection.irq(eventfd)
    theirs = {"error": f"{SCHID} irq 0 was attached by another connection"}
    assert second.irq(other) == second.irq() == theirs
    mount.signal()
    assert (count(eventfd), count(other)) == (1, 0)
    # Once it is closed the line is free at once, whatever the server has noticed by then.
    for _ in range(20):
        connection.close()
        assert second.irq(other) == OK
        mount.signal()
        assert count(other) == 1
        connection, second = second, Connection(mount.path)
        eventfd, other = other, eventfd
    connection.close()
    second.close()
    os.close(other)


def test_every_line_has_its_own(mount, connection, eventfd):
    other = os.eventfd(0, os.EFD_NONBLOCK)
    connection.irq(eventfd)
    connection.irq(other, index=1)
    mount.signal(1, index=1)
    assert (count(eventfd), count(other)) == (0, 1)
    connection.irq(index=1)
    mount.signal()
    assert (count(eventfd), count(other)) == (1, 0)
    os.close(other)


def test_a_full_eventfd_never_blocks_the_server(mount, connection):
    blocking = os.eventfd(0)
    connection.irq(blocking)
    os.eventfd_write(blocking, 2**64 - 2)
    mount.signal()
    mount.signal(5)
    assert os.eventfd_read(blocking) == 2**64 - 2
    mount.signal()
    assert os.eventfd_read(blocking) == 1
    os.close(blocking)


def test_the_round_trip_with_an_eventfd(mount, connection, eventfd):
    connection.irq(eventfd)
    region = os.open(mount.region, os.O_RDWR)
    poll = select.poll()
    poll.register(eventfd, select.POLLIN)
    for _ in range(100):
        os.pwrite(region, bytes(124), 0)
        assert poll.poll(SOON * 1000)
        assert count(eventfd) == 1
        assert os.pread(region, 124, 0)[27] == 1
    os.close(region)


def fds_of(kinds, eventfd):
    made = {
        "eventfd": lambda: os.dup(eventfd),
        "file": lambda: os.open("/dev/null", os.O_RDWR),
        "memfd": lambda: os.memfd_create("eventfd"),
        "pidfd": lambda: os.pidfd_open(os.getpid()),
    }
    return [made[kind]() for kind in kinds]


MAP = {"iova": 0, "size": 4096}
BAD = {
    "not json": (b"{", [], "not JSON"),
    "not text": (b"\xff\xfe{}", [], "not JSON"),
    "nested too deeply": (b"[" * 4000, [], "not JSON"),
    "a number too long": (b'{"subchannel": "0.0.0313", "irq": ' + b"9" * 4000, [], "not JSON"),
    "not an object": (b"[]", [], "must be a JSON object"),
    "nothing": (b"", [], "not JSON"),
    "too long": (b" " * 4097, ["eventfd"], "longer than 4096 bytes"),
    "empty": ({}, ["eventfd"], "has nothing"),
    "no irq": ({"subchannel": SCHID}, [], '"subchannel"'),
    "two things": ({"subchannel": SCHID, "irq": 0, "map": MAP}, [], '"irq", "map"'),
    "unknown word": ({"subchannel": SCHID, "irq": 0, "flags": 1}, [], '"flags"'),
    "unknown subchannel": ({"subchannel": "0.0.9999", "irq": 0}, ["eventfd"], '"0.0.9999"'),
    "subchannel no string": ({"subchannel": ["\n"], "irq": 0}, [], "must be a string"),
    "unknown irq": ({"subchannel": SCHID, "irq": 2}, ["eventfd"], "no irq 2; it has 0, 1"),
    "irq no integer": ({"subchannel": SCHID, "irq": True}, ["eventfd"], '"irq" must be'),
    "irq negative": ({"subchannel": SCHID, "irq": -1}, ["eventfd"], '"irq" must be'),
    "several": ({"subchannel": SCHID, "irq": 0}, ["eventfd"] * 2, "2 descriptors"),
    "very many": ({"subchannel": SCHID, "irq": 0}, ["eventfd"] * 200, "200 descriptors"),
    "a file": ({"subchannel": SCHID, "irq": 0}, ["file"], "/dev/null"),
    "a memfd of that name": ({"subchannel": SCHID, "irq": 0}, ["memfd"], "not an eventfd"),
    "a pidfd": ({"subchannel": SCHID, "irq": 0}, ["pidfd"], "not an eventfd"),
    "map of what": ({"subchannel": SCHID, "map": MAP}, ["file"], '"offset" and "vaddr"'),
    "map no object": ({"subchannel": SCHID, "map": 1}, [], '"map" must be a JSON object'),
    "map with no file": ({"subchannel": SCHID, "map": {**MAP, "offset": 0}}, [], "descriptor"),
    "map with two files": (
        {"subchannel": SCHID, "map": {**MAP, "offset": 0}},
        ["file", "file"],
        "2 descriptors",
    ),
    "process map with a file": ({"subchannel": SCHID, "map": {**MAP, "vaddr": 0}}, ["file"], "own"),
    "map with a fraction": (
        {"subchannel": SCHID, "map": {"iova": 0, "size": 1.5, "offset": 0}},
        ["file"],
        '"size" must be',
    ),
    "map too large": (
        {"subchannel": SCHID, "map": {"iova": 2**64, "size": 4096, "offset": 0}},
        ["file"],
        '"iova" must be',
    ),
    "map refused": (
        {"subchannel": SCHID, "map": {"iova": 0, "size": 4097, "offset": 0}},
        ["file"],
        "4097 is not a multiple",
    ),
    "map fails": ({"subchannel": SCHID, "map": {**MAP, "vaddr": 0}}, [], "nothing there"),
    "unmap of what": ({"subchannel": SCHID, "unmap": {"iova": 0}}, [], '"iova" and "size"'),
    "unmap with a file": ({"subchannel": SCHID, "unmap": MAP}, ["file"], "no descriptor"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_message_changes_nothing(mount, connection, eventfd, what):
    message, kinds, expected = BAD[what]
    attached = os.eventfd(0, os.EFD_NONBLOCK)
    connection.irq(attached)
    before = mount.statistics()
    fds = fds_of(kinds, eventfd)
    answer = connection.send(message, *fds)
    for fd in fds:
        os.close(fd)
    assert list(answer) == ["error"]
    assert expected in answer["error"]
    assert "\n" not in answer["error"]
    assert mount.statistics()["calls"] == before["calls"]
    # What might block is closed by a thread.
    until(lambda: mount.statistics()["fds"] == before["fds"], "every descriptor is given back")
    mount.signal()
    assert count(attached) == 1
    os.close(attached)
    assert connection.irq() == OK


def test_maps_go_to_who_keeps_the_memory(mount, connection):
    fd = os.memfd_create("guest")
    before = mount.statistics()
    offset = {"subchannel": SCHID, "map": {"iova": 4096, "size": 8192, "offset": 12288}}
    vaddr = {"subchannel": SCHID, "map": {"iova": 0, "size": 4096, "vaddr": 2**64 - 4096}}
    unmap = {"subchannel": SCHID, "unmap": {"iova": 4096, "size": 8192}}
    assert connection.send(offset, fd) == OK
    assert connection.send(vaddr) == OK
    assert connection.send(unmap) == OK
    connection.close()
    until(lambda: len(mount.statistics()["calls"]) == len(before["calls"]) + 4)
    after = mount.statistics()
    calls = [call.split(" ", 1) for call in after["calls"][-4:]]
    assert [what for _, what in calls] == [
        f"file {SCHID} 4096 8192 12288 memfd:guest (deleted)",
        f"process {SCHID} 0 4096 {2**64 - 4096} {os.getpid()}",
        f"unmap {SCHID} 4096 8192",
        "closed",
    ]
    assert len({owner for owner, _ in calls}) == 1
    os.close(fd)


def test_many_messages_and_connections(mount):
    before = mount.statistics()["fds"]
    connections = [Connection(mount.path) for _ in range(50)]
    fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in connections]
    for _ in range(5):
        for connection, fd in zip(connections, fds, strict=True):
            assert connection.irq() == OK
            assert connection.irq(fd) == OK
            mount.signal()
            assert connection.irq() == OK
    assert [count(fd) for fd in fds] == [5] * 50
    for connection in connections:
        connection.close()
    until(lambda: mount.statistics()["fds"] == before)
    for fd in fds:
        os.close(fd)


def test_a_client_that_does_not_read_its_answers_hurts_nobody(mount, connection, eventfd):
    deaf = Connection(mount.path)
    deaf.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            deaf.socket.send(b"{}")
    assert connection.irq(eventfd) == OK
    mount.signal()
    assert count(eventfd) == 1
    deaf.close()
    assert connection.irq() == OK


def test_the_socket_is_private(mount):
    path = os.readlink(mount.path / "irqfd")
    directory = os.stat(os.path.dirname(path))
    assert stat.S_IMODE(directory.st_mode) == 0o700
    assert directory.st_uid == os.geteuid()
    assert stat.S_ISSOCK(os.stat(path).st_mode)


async def test_another_user_is_refused(monkeypatch):
    """The server belongs to somebody else than the client, who has a way into its directory."""
    # The client's way leads through /tmp, not through a directory of ours.
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    irqs: dict[str, dict[int, Irq]] = {}
    server = IrqfdServer(irqs.__getitem__)
    server.open()
    server.path.parent.chmod(0o755)
    server.path.chmod(0o777)
    # Root is always let in: as root the client must become somebody.
    user = NOBODY if os.geteuid() == 0 else None
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY + 1)
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.connect(sys.argv[1]); print(s.recv(4096).decode()); print(s.recv(4096))"
    )
    command = ["/usr/bin/python3", "-I", "-S", "-c", program, os.fspath(server.path)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        done = await trio.run_process(command, capture_stdout=True, cwd="/", user=user)
        nursery.cancel_scope.cancel()
    server.close()
    assert not server.path.parent.exists()
    refusal, end = done.stdout.decode().splitlines()
    assert "only the mount's owner and root may use irqfd" in json.loads(refusal)["error"]
    assert end == "b''"


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A directory with a name that leaves room for the name of a socket (108 bytes: unix(7))."""
    with tempfile.TemporaryDirectory(prefix="run-") as directory:
        yield Path(directory)


def test_the_runtime_directory_is_used_and_swept(tmp_path, runtime):
    first, second = (tmp_path / name for name in ("first", "second"))
    for directory in (first, second):
        directory.mkdir()
    with mounted(first, XDG_RUNTIME_DIR=os.fspath(runtime)) as mount:
        place = os.path.dirname(os.readlink(first / "irqfd"))
        assert os.path.dirname(place) == os.fspath(runtime)
        with mounted(second, XDG_RUNTIME_DIR=os.fspath(runtime)):
            assert len(os.listdir(runtime)) == 2
        assert len(os.listdir(runtime)) == 1
        # A killed server cannot clean up; the next one does.
        mount.process.kill()
        mount.process.wait()
        assert os.path.exists(place)
    with mounted(second, XDG_RUNTIME_DIR=os.fspath(runtime)):
        assert not os.path.exists(place)
        assert len(os.listdir(runtime)) == 1
    assert os.listdir(runtime) == []


def test_a_runtime_directory_with_too_long_a_name_is_not_used(tmp_path):
    runtime = tmp_path / ("x" * 80)
    runtime.mkdir()
    (tmp_path / "mount").mkdir()
    with mounted(tmp_path / "mount", XDG_RUNTIME_DIR=os.fspath(runtime)) as mount:
        assert os.readlink(mount.path / "irqfd").startswith("/tmp/")
        Connection(mount.path).close()
