"""Signals and reads that wait: a read dies at Ctrl-C and kill, and never fails without a signal."""

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab.mounts import SCHID
from lab.waits import SOON, until, until_quiet
from vfioccw_fuse.fuse import signals
from vfioccw_fuse.fuse.blocked import ALONE_S

from .conftest import number

QUIET = 0.3
"""Long enough for several looks at the readers, in seconds."""

TOOLS = {
    "xxd": ("xxd", "-l8", "-p"),
    "od": ("od", "-An", "-tx8", "-N8"),
    "dd": ("dd", "bs=8", "count=1", "status=none"),
    "cat": ("cat",),
    "head": ("head", "-c8"),
}
FATAL = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGQUIT]


def tool(name, path):
    return (*TOOLS[name], f"if={path}" if name == "dd" else path)


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def default_signals():
    """What a shell gives its foreground jobs; we may have been started with some ignored."""
    for which in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(which, signal.SIG_DFL)


@pytest.mark.parametrize("name", TOOLS)
def test_a_blocked_tool_dies_at_signals(mount, start, name):
    tools = {which: start(*tool(name, mount.io_irq), preexec_fn=default_signals) for which in FATAL}
    mount.until_waiting(len(FATAL))
    for which, process in tools.items():
        process.send(which)
    for which, process in tools.items():
        assert process.status() == -which
    mount.until_waiting(0)


def test_only_the_process_that_was_signalled_dies(mount, start):
    tools = [start(*tool("xxd", mount.io_irq)) for _ in range(5)]
    mount.until_waiting(5)
    tools[2].send(signal.SIGTERM)
    assert tools[2].status() == -signal.SIGTERM
    time.sleep(QUIET)
    assert [process.alive() for process in tools] == [True, True, False, True, True]
    mount.signal(1, index=1)
    for value in range(4):
        mount.signal(value + 1)
    values = {process.output() for process in tools if process is not tools[2]}
    assert values == {number(value + 1).hex().encode() + b"\n" for value in range(4)}


@pytest.mark.parametrize("part", ["", SCHID])
@pytest.mark.parametrize(
    "apart", [(), ("unshare", "--mount")], ids=["here", "in a mount namespace"]
)
def test_a_reader_dies_that_sees_the_mount_at_another_place(mount, start, tmp_path, part, apart):
    irq = mount.io_irq.relative_to(mount.path / part)
    script = 'mount --bind "$1" "$2" && { xxd -l8 -p "$2/$3"; echo $?; }'
    shell = start(*apart, "sh", "-c", script, "sh", mount.path / part, tmp_path, irq)
    try:
        mount.until_waiting(1)
        os.kill(children(shell.pid)[-1], signal.SIGTERM)
        assert shell.output() == b"%d\n" % (128 + signal.SIGTERM)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=False, capture_output=True)


@pytest.mark.parametrize("name", ["xxd", "od"])
def test_signals_that_do_nothing_do_not_interrupt(mount, start, name):
    """These tools give up at EINTR: they must never see it."""

    def ignore_and_block():
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])

    process = start(*tool(name, mount.io_irq), preexec_fn=ignore_and_block)
    mount.until_waiting(1)
    for which in (
        signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGWINCH, signal.SIGCHLD,
        signal.SIGURG, signal.SIGCONT,
    ):  # fmt: skip
        process.send(which)
        mount.statistics()
        time.sleep(0.05)
    time.sleep(QUIET)
    assert mount.statistics()["blocked"]["waiting"] == 1
    mount.signal(42)
    assert process.output().strip() in (b"2a00000000000000", b"000000000000002a")


@pytest.mark.parametrize("name", ["xxd", "od"])
def test_a_busy_mount_does_not_interrupt(mount, start, name):
    process = start(*tool(name, mount.io_irq))
    mount.until_waiting(1)
    looks = mount.statistics()["blocked"]["looks"]
    end = time.monotonic() + 1
    while time.monotonic() < end:
        mount.region.read_bytes()
    until(lambda: mount.statistics()["blocked"]["looks"] > looks, "a look at the reader")
    mount.signal(42)
    assert process.output()


PROLOGUE = """
import os, signal, sys, threading, time, errno
path = sys.argv[1]
fd = os.open(path, os.O_RDONLY)
def report(name="read"):
    # os.read of Python tries again after EINTR, unless a handler raises; readv does so too.
    try:
        print(name, int.from_bytes(os.pread(fd, 8, 0), sys.byteorder))
    except OSError as error:
        print(name, errno.errorcode[error.errno])
class Woken(Exception):
    pass
def wake(*_):
    raise Woken
"""


def test_a_caught_signal_interrupts_and_the_read_can_be_tried_again(mount, python):
    process = python(
        PROLOGUE
        + """
signal.signal(signal.SIGUSR1, wake)
try:
    report()
except Woken:
    print("woken")
report("again")
""",
        mount.io_irq,
    )
    mount.until_waiting(1)
    process.send(signal.SIGUSR1)
    assert process.line() == "woken"
    mount.until_waiting(1)
    mount.signal(5)
    assert process.line() == "again 5"


def test_a_signal_from_before_the_read_interrupts_it(mount, python):
    """It is pending and blocked while the read begins in the server's sight."""
    process = python(
        PROLOGUE
        + """
signal.signal(signal.SIGALRM, wake)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.0005)
    while True:
        report()
except Woken:
    print("woken")
""",
        mount.io_irq,
    )
    assert process.line() == "woken"


def test_ctrl_z_stops_a_job_and_it_goes_on(mount, start):
    # dd tries again after EINTR; cat and head do so no more, from coreutils 9.10 on.
    process = start(*tool("dd", mount.io_irq))
    mount.until_waiting(1)
    process.send(signal.SIGTSTP)
    until(lambda: process.state() == "T", "the job stopped")
    process.send(signal.SIGCONT)
    mount.until_waiting(1)
    mount.signal(7)
    assert process.output() == number(7)


def test_a_job_of_several_threads_stops_too(mount, python):
    """The main thread takes the signal; the reader has none pending, but all have to stop."""
    process = python(
        PROLOGUE + "threading.Thread(target=report).start(); print('on'); time.sleep(60)",
        mount.io_irq,
    )
    mount.until_waiting(1)
    process.send(signal.SIGTSTP)
    until(lambda: process.state() == "T", "the process stopped")
    until(lambda: all_stopped(process.pid), "all its threads stopped")
    process.send(signal.SIGCONT)
    assert process.line() == "on"
    mount.until_waiting(1)
    mount.signal(3)
    assert process.line() == "read 3"


def all_stopped(pid):
    states = [
        (task / "stat").read_text().rpartition(")")[2].split()[0]
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    return len(states) == 2 and set(states) == {"T"}


def test_a_thread_that_did_not_open_the_file_is_found(mount, python):
    process = python(
        PROLOGUE
        + """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def reader():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    report()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
thread = threading.Thread(target=reader)
thread.start()
thread.join()
""",
        mount.io_irq,
    )
    mount.until_waiting(1)
    time.sleep(QUIET)
    before = mount.statistics()["blocked"]["interrupted"]
    process.send(signal.SIGUSR1)
    # The reader tries again by itself; the main thread runs the handler.
    until(lambda: mount.statistics()["blocked"]["interrupted"] == before + 1)
    mount.until_waiting(1)
    mount.signal(8)
    assert process.line() in ("handled", "read 8")


def test_a_process_of_many_readers_dies_at_once(mount, python):
    process = python(
        PROLOGUE + "for _ in range(9): threading.Thread(target=report).start()", mount.io_irq
    )
    mount.until_waiting(9)
    process.send(signal.SIGKILL)
    assert process.status() == -signal.SIGKILL
    mount.until_waiting(0)


@pytest.mark.parametrize("opener", ["waits", "exits"])
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGKILL])
def test_a_child_with_an_inherited_descriptor_dies(mount, python, opener, which):
    process = python(
        PROLOGUE
        + """
child = os.fork()
if not child:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    report("child")
    os._exit(0)
print(child)
if sys.argv[2] == "waits":
    os.waitpid(child, 0)
    print("child is gone")
    report("parent")
""",
        mount.io_irq,
        opener,
    )
    child = int(process.line())
    mount.until_waiting(1)
    if opener == "exits":
        assert process.status() == 0
    time.sleep(QUIET)
    assert mount.waiting() == 1
    os.kill(child, which)
    mount.until_waiting(0) if opener == "exits" else None
    if opener == "waits":
        assert process.line() == "child is gone"
        mount.until_waiting(1)
        mount.signal(4)
        assert process.line() == "parent 4"


def test_a_parent_that_reads_is_not_hit_by_its_childs_signal(mount, python):
    """Parent and child have their own open files; the child alone is killed."""
    process = python(
        PROLOGUE
        + """
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
child = os.fork()
if not child:
    fd = os.open(path, os.O_RDONLY)
    report("child")
print(child)
report("parent")
""",
        mount.io_irq,
    )
    child = int(process.line())
    mount.until_waiting(2)
    before = mount.statistics()["blocked"]["interrupted"]
    os.kill(child, signal.SIGKILL)
    mount.until_waiting(1)
    time.sleep(QUIET)
    assert mount.statistics()["blocked"]["interrupted"] == before + 1
    mount.signal(2)
    assert process.line() == "parent 2"


def test_a_reader_whose_opener_thread_is_gone_dies(mount, python):
    process = python(
        PROLOGUE
        + """
def opener():
    global fd
    fd = os.open(path, os.O_RDONLY)
thread = threading.Thread(target=opener)
thread.start()
thread.join()
report()
""",
        mount.io_irq,
    )
    mount.until_waiting(1)
    process.send(signal.SIGTERM)
    assert process.status() == -signal.SIGTERM


def test_the_reader_of_the_right_file_is_interrupted(mount, python):
    """One thread opened both files and reads the second; another reads the first."""
    process = python(
        PROLOGUE
        + """
signal.signal(signal.SIGUSR1, wake)
first = fd
second = os.open(sys.argv[2], os.O_RDONLY)
threading.Thread(target=report, args=("first",)).start()
time.sleep(0.2)
try:
    os.pread(second, 8, 0)
except Woken:
    print("second woken")
""",
        mount.crw_irq,
        mount.io_irq,
    )
    mount.until_waiting(2)
    process.send(signal.SIGUSR1)
    assert process.line() == "second woken"
    assert mount.statistics()["blocked"]["waiting"] == 1
    mount.signal(1, index=1)
    assert process.line() == "first 1"


def test_ctrl_c_at_a_terminal_ends_a_shells_redirection(mount):
    """The shell opens the file, xxd reads it; the terminal signals both."""
    pid, terminal = pty.fork()
    if not pid:
        os.execvp("bash", ["bash", "-c", f'exec 3<"{mount.io_irq}"; xxd <&3; echo "status $?"'])
    mount.until_waiting(1)
    time.sleep(QUIET)
    os.write(terminal, b"\x03")
    assert os.waitpid(pid, 0)[0] == pid
    os.close(terminal)
    mount.until_waiting(0)


def test_an_exec_that_closes_our_file_is_not_in_the_way(mount, python):
    """execve holds a lock while it closes; a look at that process must not wait for it."""
    process = python(
        PROLOGUE
        + """
for _ in range(300):
    child = os.fork()
    if not child:
        # Inherited without close-on-exec in Python's sense: exec closes it.
        os.execv("/bin/true", ["true"])
    os.kill(child, signal.SIGWINCH)
    os.waitpid(child, 0)
print("done")
""",
        mount.io_irq,
    )
    assert process.popen.wait(SOON) == 0


STATUS = """Name:\txxd
SigQ:\t0/96365
SigPnd:\t{pending:016x}
ShdPnd:\t{shared:016x}
SigBlk:\t{blocked:016x}
SigIgn:\t{ignored:016x}
SigCgt:\t{caught:016x}
CapInh:\t0000000000000000
"""
INT, KILL, CHLD, WINCH = (1 << (n - 1) for n in (2, 9, signal.SIGCHLD, signal.SIGWINCH))


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({}, 0),
        ({"pending": INT}, INT),
        ({"shared": INT}, INT),
        ({"pending": KILL, "shared": INT}, KILL | INT),
        ({"shared": INT, "blocked": INT}, 0),
        ({"shared": INT, "blocked": CHLD}, INT),
        # A tracer makes signals pending that would otherwise be dropped at once.
        ({"pending": INT, "ignored": INT}, 0),
        ({"pending": CHLD | WINCH}, 0),
        ({"pending": CHLD | WINCH, "caught": WINCH}, WINCH),
        ({"shared": 1 << 63}, 1 << 63),
    ],
)
def test_only_signals_that_would_be_delivered_count(masks, expected):
    names = ("pending", "shared", "blocked", "ignored", "caught")
    status = STATUS.format(**{name: masks.get(name, 0) for name in names})
    assert signals.deliverable(status.encode()) == expected


def test_looks_cease_when_nothing_waits(mount, start):
    process = start(*tool("xxd", mount.io_irq))
    mount.until_waiting(1)
    mount.signal()
    process.output()
    until_quiet(lambda: mount.statistics()["blocked"]["looks"], "no look for long", 1.2)


def test_what_the_kernel_reads_ahead_holds_nobody_up(mount, python):
    """posix_fadvise(2) begins a read in which no thread waits; its page is locked until the end."""
    process = python(
        """if True:
            import os, sys
            fd = os.open(sys.argv[1], os.O_RDWR)
            os.posix_fadvise(fd, 0, 4096, os.POSIX_FADV_WILLNEED)
            os.ftruncate(fd, 0)
        """,
        mount.io_irq,
    )
    mount.until_waiting(1)
    assert process.output() == b""
    mount.until_waiting(0)


def test_a_reader_that_did_not_open_the_file_is_not_taken_for_the_kernel(mount, start):
    reader = start("sh", "-c", 'exec 3<"$0"; xxd -l8 -p <&3; exit $?', mount.io_irq)
    mount.until_waiting(1)
    time.sleep(1.5 * ALONE_S)
    mount.signal(7)
    assert reader.output() == number(7).hex().encode() + b"\n"
