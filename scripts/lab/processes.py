"""What /proc tells of processes: of a mount's server, and of clients that wait for it."""

import contextlib
import os
import signal
import time
from pathlib import Path

from lab.waits import until

ASLEEP_IN_THE_MOUNT = ("request_wait",)
"""Where a thread sleeps that waits for a FUSE server's answer, as `sleeps_in` wants it."""
ASLEEP_IN_POLL = ("poll", "select")
"""Where one sleeps in poll, select or epoll_wait."""


def sleeps_in(places: tuple[str, ...], pid: int, tid: int | None = None) -> bool:
    """Whether a thread, or a process's first one, sleeps in a kernel function of such a name."""
    with contextlib.suppress(OSError):
        place = Path(f"/proc/{pid}/task/{tid or pid}/wchan").read_text()
        return any(name in place for name in places)
    return False


def stop(pid: int) -> None:
    """SIGSTOP to a process; returns when none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: _stopped(pid), f"process {pid} has stopped")


def _stopped(pid: int) -> bool:
    for task in Path(f"/proc/{pid}/task").iterdir():
        # It may have ended meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if status_of(task / "status")["State"][0] not in "Tt":
                return False
    return True


def cpu_time(pid: int) -> float:
    """Processor time of a process so far, in seconds: other programs hardly change it."""
    return cpu_time_ns(pid) / 1e9


def cpu_time_ns(pid: int) -> int:
    """Processor time of all its threads so far, user and system, in nanoseconds."""
    # The clock id that clock_getcpuclockid(3) makes of a process id.
    return time.clock_gettime_ns((~pid << 3) | 2)


def command_of(pid: int) -> list[str]:
    """The command line of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def files_of(pid: int) -> list[str]:
    """What a process has open, as its links in /proc say; empty if there is no such process."""
    files = []
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            # It opens and closes others meanwhile.
            with contextlib.suppress(FileNotFoundError):
                files.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return files


def connections(socket: Path) -> int:
    """How many connections to a mount's socket its server has not closed yet."""
    # The server's ends have the name that the socket had when it was bound; one of them listens.
    directory, listens = f"{socket.parent}/", 0x10000
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:])
    return sum(
        len(words) > 7 and words[7].startswith(directory) and not int(words[3], 16) & listens
        for words in lines
    )


def status_of(path: Path) -> dict[str, str]:
    """A status file in /proc: `/proc/PID/status`, or that of one of its threads."""
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {key: value.strip() for key, _, value in lines}


def memory_of(pid: int) -> float:
    """Resident memory of a process (VmRSS: with shared pages), in MiB."""
    return int(status_of(Path(f"/proc/{pid}/status"))["VmRSS"].split()[0]) / 1024


def switches_of(pid: int) -> int:
    """How often the threads of a process were switched to: what an idle one does not do."""
    tasks = [status_of(task / "status") for task in Path(f"/proc/{pid}/task").iterdir()]
    kinds = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    return sum(int(task[kind]) for task in tasks for kind in kinds)
