"""The client processes of a run: started by fork, killed at random, looked after."""

import contextlib
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from attack.board import Board
from attack.media import Media
from attack.plan import Plan
from attack.seat import Gone, Role, Seat


@dataclass
class Member:
    """A place for one client at a time."""

    seat: Seat
    role: Role
    pid: int = 0
    """0: nobody is there."""
    ended: float = 0.0
    """When the last one ended by itself."""

    @property
    def kind(self) -> str:
        """The first word of its name."""
        return self.seat.name.split()[0]


class Crew:
    """All clients of a run."""

    def __init__(self, plan: Plan, media: Media, mount: Path) -> None:
        self._plan = plan
        self._media = media
        self._mount = mount
        self.events = media.disk / "events"
        """Where clients put down bad events."""
        self.log = media.disk / "clients.log"
        """Where a client's own failure goes."""
        self._boards: dict[str, Board] = {}
        self._lives: Counter[str] = Counter()
        self.members: list[Member] = []
        """Who is at work."""

    def join(self, name: str, number: int, role: Role) -> Member:
        """Start a client."""
        board = self._boards.setdefault(name, Board())
        seat = Seat(self._plan, self._media, self._mount, name, number, 0, board, self.events)
        member = Member(seat, role)
        self.members.append(member)
        self.start(member)
        return member

    def start(self, member: Member) -> None:
        """Start the next client of this place."""
        name = member.seat.name
        member.seat.board.renew()
        member.seat = replace(member.seat, life=self._lives[name])
        self._lives[name] += 1
        child = os.fork()
        if child == 0:
            _live(member, self.log)
        member.pid = child

    def counts(self) -> Counter[str]:
        """What all clients have done so far."""
        return sum((board.counts() for board in self._boards.values()), Counter())

    def lives(self) -> int:
        """How many clients there have been."""
        return self._lives.total()

    def reap(self) -> Iterator[tuple[Member, int]]:
        """Who ended by himself since the last call, with his status as waitpid(2) gives it."""
        for member in self.members:
            if member.pid:
                pid, status = os.waitpid(member.pid, os.WNOHANG)
                if pid:
                    _kill(member.pid)  # its children
                    member.pid = 0
                    member.ended = time.monotonic()
                    yield member, status

    def kill(self, member: Member) -> None:
        """SIGKILL of a client and all its children."""
        if member.pid:
            _kill(member.pid)

    def end(self, seconds: float) -> list[str]:
        """Kill all; who is not gone *seconds* later, which is what a hanging request looks like."""
        for member in self.members:
            self.kill(member)
        deadline = time.monotonic() + seconds
        while any(member.pid for member in self.members) and time.monotonic() < deadline:
            for _ in self.reap():
                pass
            time.sleep(0.005)
        stuck = [
            f"{m.seat.name}: {m.seat.board.waits()[1]}\n{_place(m.pid)}"
            for m in self.members
            if m.pid
        ]
        self.members.clear()
        return stuck


def _place(pid: int) -> str:
    """Where in the kernel a process is, and which signals it has."""
    said = []
    for name in ("wchan", "syscall", "stack", "status"):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/{name}").read_text()
            lines = text.splitlines()
            if name == "status":
                lines = [line for line in lines if line.startswith(("State", "Sig", "Shd", "Tgid"))]
            said.append(f"{name}: {' '.join(lines)}")
    return "\n".join(said)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _live(member: Member, log: Path) -> None:
    """The life of a client, in its own process."""
    status = 1
    try:
        os.setsid()
        # What the run has open is not its clients': they would keep what they are to lose.
        os.closerange(3, 4096)
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        member.role(member.seat)
        status = 0
    except (Gone, ConnectionError):
        status = 0
    except OSError:
        # Which errno a request has when its mount ends depends on where it was.
        traceback.print_exc()
        status = 2
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
