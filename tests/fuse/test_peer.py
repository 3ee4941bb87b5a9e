"""Whose memory a `vaddr` means: that of the process which connected, while it lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from lab.mounts import IMPORTS
from lab.waits import SOON
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.fuse import peer as room
from vfioccw_fuse.fuse.peer import Peer

COMES_BACK = """
import os, signal, sys, time
from pathlib import Path
from lab.waits import until
from tests.fuse.test_peer import connected, ends
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.fuse import peer as room
if sys.argv[2] == "no pidfds":
    room.pidfds_of_peers = lambda: False
connection, client, child, hold = connected(Path(sys.argv[1]))
peer = room.Peer(connection)
assert peer.pid == child
peer.check()
started = time.clock_gettime(time.CLOCK_BOOTTIME)
ends(child, hold)
# Start times are told in ticks of 10 ms.
until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > started + 0.02, "another tick")
Path("/proc/sys/kernel/ns_last_pid").write_text(str(child - 1))
again = os.fork()
if not again:
    signal.pause()
assert again == child
try:
    peer.check()
except UserError as error:
    print(error.message)
"""
"""For the first process of a PID namespace, in which it says what number comes next."""


def connected(directory: Path) -> tuple[trio.socket.SocketType, socket.socket, int, int]:
    """A connection that a child has made: both ends, the child, and what ends it when closed."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(directory / "socket"))
    listener.listen()
    ours, theirs = os.pipe()
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if not child:
        client.connect(str(directory / "socket"))
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    connection, _ = listener.accept()
    listener.close()
    return trio.socket.from_stdlib_socket(connection), client, child, theirs


def ends(child: int, hold: int) -> None:
    """Let the child end; its connection stays, and nobody has its number."""
    os.close(hold)
    os.waitpid(child, 0)


@pytest.mark.parametrize("pidfds", [True, False])
async def test_a_peer_that_has_ended_is_no_peer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pidfds: bool
) -> None:
    """With pidfds of peers (Linux 6.5), and without."""
    if not pidfds:
        monkeypatch.setattr(room, "pidfds_of_peers", lambda: False)
    connection, client, child, hold = connected(tmp_path)
    with connection, client:
        peer = Peer(connection)
        assert (peer.pid, peer.uid) == (child, os.geteuid())
        peer.check()
        ends(child, hold)
        with pytest.raises(UserError, match=f"process {child}, which made the connection, has end"):
            peer.check()
        assert not peer.gone()


@pytest.mark.parametrize("how", ["pidfds", "no pidfds"])
def test_a_process_that_has_a_peers_number_by_now_is_not_the_peer(tmp_path: Path, how: str) -> None:
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *own, "--pid", "--fork", "--kill-child", "--mount-proc",
         sys.executable, "-c", COMES_BACK, str(tmp_path), how],
        env={**os.environ, "PYTHONPATH": IMPORTS},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "which made the connection, has ended" in done.stdout
