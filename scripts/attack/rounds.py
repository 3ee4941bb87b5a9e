"""Lets it happen: round after round a mount, its clients, an end, and a look at what is left."""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from attack import writers
from attack.assault import attack
from attack.crew import Crew, Member
from attack.ledger import ledger_of
from attack.media import Media, Medium
from attack.plan import Plan
from attack.prober import probe, worst_and_median
from attack.report import Report
from attack.seat import Role, Seat
from attack.server import NotMounted, Server
from lab.client import Connection, write_file
from lab.mounts import GONE_WITHIN

_TICK = 0.02
_ROUND, _SHORT = (3.0, 12.0), (1.5, 5.0)
"""Seconds between two ends of the mount; the second if kills are counted."""
_KILL, _OFTEN = (0.3, 3.0), (0.02, 0.25)
"""Seconds between two kills of clients."""
_ENDS = {"SIGKILL": 6, "quiet": 3, "SIGTERM": 1, "SIGINT": 1, "fusermount3 -u -z": 1}
"""How a round ends, and how often. Quiet: everybody goes, and the server is looked at."""
_MORE_FILES, _MORE_MEMORY = 16, 160.0
"""How many more files and MiB a server may have after a round, when everybody has gone."""
_IDLE = 0.05
"""Seconds of the processor that an idle server may use in one second."""
_LEFT_WITHIN = 60.0


class Run:
    """One run from its media to its table."""

    def __init__(self, plan: Plan, disk: Path, tmpfs: Path) -> None:
        """Images and logs go below *disk* and, some of them, *tmpfs*."""
        self._plan = plan
        self._chance = plan.chance("rounds")
        self._media = Media(disk, tmpfs)
        self._point = disk / "mnt"
        self._crew = Crew(plan, self._media, self._point)
        self.report = Report(plan)
        """What was said so far."""
        self._events_read = 0
        self._hung = False
        self._number = 0
        self._server: Server | None = None

    def go(self) -> int:
        """Rounds until time is up or enough was killed; the exit status."""
        # Told to end, it ends as by Ctrl-C: with nothing left of it.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._media.make()
        end = time.monotonic() + self._plan.minutes * 60
        try:
            while not self._enough(end):
                self._round(end)
                self._number += 1
                self.report.done["rounds"] += 1
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        finally:
            self._crew.end(self._plan.hang)
            if self._server is not None:
                self._server.close()
        self._read_events()
        worst, median = worst_and_median(self._media.disk / "probes")
        return self.report.close(self._crew.counts(), worst, median)

    def _enough(self, end: float) -> bool:
        if self._plan.kills:
            done = self.report.done
            return done["clients killed"] + done["servers killed"] >= self._plan.kills
        return time.monotonic() >= end

    # --- a round ------------------------------------------------------------------------------

    def _round(self, end: float) -> None:
        self._media.tidy()
        log = self._media.disk / f"server{self._number}.log"
        try:
            server = self._server = Server(
                self._point, self._media, log, few_files=self._plan.has("full-table")
            )
        except NotMounted as error:
            self._bad("a mount did not come up", str(error))
            time.sleep(1)
            return
        self._hung = False
        files, memory = len(server.files()), server.anonymous()
        self._work(server, self._duration(end))
        if server.alive:
            # One that does not answer would let everybody wait once more.
            how = "SIGKILL" if self._hung else self._how()
            self.report.done[f"ends by {how}"] += 1
            if how == "quiet":
                self._look_at(server, files, memory)
            self._end(server, how)
        self._clear_up(server)

    def _duration(self, end: float) -> float:
        seconds = self._chance.uniform(*(_SHORT if self._plan.kills else _ROUND))
        if not self._plan.kills:
            seconds = min(seconds, max(end - time.monotonic(), 1.0))
        return seconds

    def _how(self) -> str:
        ends = dict(_ENDS)
        if not self._plan.has("server-kills"):
            del ends["SIGKILL"]
        if not self._plan.has("lazy-unmounts"):
            del ends["fusermount3 -u -z"]
        if not self._plan.has("unmounts"):
            ends = {how: weight for how, weight in ends.items() if how in ("SIGKILL", "quiet")}
        if self._number < 2 and "SIGKILL" in ends:
            return ("SIGKILL", "quiet")[self._number]  # each run has both
        [how] = self._chance.choices(list(ends), list(ends.values()))
        return how

    def _work(self, server: Server, seconds: float) -> None:
        """Let clients work on the mount, and kill some of them."""
        self._hire()
        now = time.monotonic()
        until, kill_at = now + seconds, now + self._until_kill()
        while server.alive and now < until and not self._hung:
            self._watch(server)
            if now >= kill_at:
                kill_at = now + self._until_kill()
                victims = [m for m in self._crew.members if m.pid and m.kind != "prober"]
                if victims and self._plan.has("client-kills"):
                    self._crew.kill(self._chance.choice(victims))
                    self.report.done["clients killed"] += 1
            time.sleep(_TICK)
            now = time.monotonic()
        if not server.alive:
            self._ended_by_itself(server)

    def _hire(self) -> None:
        """The prober, and clients of both kinds; another choice of media each round."""
        self._crew.join("prober", 0, probe)
        number = max(1, self._plan.clients // 2)
        checked = self._media.checked
        for place in range(min(number, len(checked))):
            medium = checked[(self._number * number + place) % len(checked)]
            self._crew.join(f"writer {medium.path.name}", place + 1, _writing(medium))
        for place in range(self._plan.clients - number):
            self._crew.join(f"attacker {place}", number + place + 1, attack)

    def _until_kill(self) -> float:
        return self._chance.uniform(*(_OFTEN if self._plan.kills else _KILL))

    # --- what is looked at all the time -------------------------------------------------------

    def _watch(self, server: Server) -> None:
        """Start who has gone, and see who hangs and what was logged."""
        for member, status in self._crew.reap():
            self._gone(member, status, server)
        for member in self._crew.members:
            if not member.pid and time.monotonic() > member.ended + 0.1:
                self._crew.start(member)
        self._see_who_hangs()
        if trouble := server.trouble():
            self._bad("an error that nobody foresaw is in the log", _end_of(trouble))
        self._read_events()
        self.report.progress(self._crew.counts(), f"round {self._number}")

    def _see_who_hangs(self) -> None:
        for member in self._crew.members:
            waits, what = member.seat.board.waits()
            if member.pid and waits > self._plan.hang:
                self._bad(
                    "a request hangs",
                    f"for {waits:.0f} s: {what}\n{self._last_actions()}",
                    member.seat.name,
                )
                self._hung = True

    def _gone(self, member: Member, status: int, server: Server) -> None:
        """A client has ended: killed, or as its mount did, or for a reason that is ours to know."""
        if os.WIFSIGNALED(status):
            if os.WTERMSIG(status) != signal.SIGKILL:
                self._bad("a client crashed", f"by signal {os.WTERMSIG(status)}", member.seat.name)
        elif server.alive and os.WEXITSTATUS(status) == 1:
            log = self._crew.log.read_text(errors="replace")
            self._bad("a client failed", log[-1500:], f"{member.seat.name} {member.seat.life}")
        elif server.alive and os.WEXITSTATUS(status) == 2:
            self.report.done["clients given up by an errno"] += 1

    def _ended_by_itself(self, server: Server) -> None:
        self._bad(
            "the server ended by itself",
            f"status {server.status}; {_end_of(server.said())}\n{self._last_actions()}",
        )

    def _last_actions(self) -> str:
        return "\n".join(
            f"{member.seat.name} life {member.seat.life}: {action}"
            for member in self._crew.members
            for action in member.seat.board.last()[-3:]
        )

    def _read_events(self) -> None:
        """Tell of what clients have put down."""
        with contextlib.suppress(FileNotFoundError), self._crew.events.open() as file:
            file.seek(self._events_read)
            for line in file:
                told = json.loads(line)
                self._bad(told["kind"], told["what"], told["who"])
                self._events_read += len(line.encode())

    def _bad(self, kind: str, what: str, who: str = "") -> None:
        self.report.event(kind, what, who)

    # --- the end of a round -------------------------------------------------------------------

    def _dismiss(self) -> None:
        """Everybody goes, killed wherever he is."""
        for stuck in self._crew.end(self._plan.hang):
            self._bad("a client does not die", stuck)
            self._hung = True

    def _look_at(self, server: Server, files: int, memory: float) -> None:
        """When everybody has gone, the server is idle and has what it had at the beginning."""
        self._dismiss()
        self._let(server, {"calm": _calm})
        if self._hung:
            return
        self._settles("the files of a server stay open", server, lambda: (
            "" if len(server.files()) <= files + _MORE_FILES
            else f"{files} before, {len(server.files())} now: {_by_kind(server.files())}"
        ))  # fmt: skip
        self._settles("a server's memory stays", server, lambda: (
            "" if server.anonymous() <= memory + _MORE_MEMORY
            else f"{memory:.0f} MiB before, {server.anonymous():.0f} now"
        ))  # fmt: skip
        self._settles("an idle server is busy", server, lambda: _busy(server))
        if not server.alive:
            self._ended_by_itself(server)
            return
        # All that was acknowledged is read once more, by programs that nobody disturbs.
        self._let(server, {
            f"checker {medium.path.name}": partial(_checking, medium)
            for medium in self._media.checked
        })  # fmt: skip

    def _let(self, server: Server, roles: Mapping[str, Role]) -> None:
        """Let clients do what they do once, with nobody else there."""
        for number, (name, role) in enumerate(roles.items()):
            self._crew.join(name, number, role)
        while server.alive and not self._hung and any(m.pid for m in self._crew.members):
            for member, status in self._crew.reap():
                self._gone(member, status, server)
            self._see_who_hangs()
            time.sleep(_TICK)
        self._read_events()
        self._dismiss()

    def _settles(self, kind: str, server: Server, wrong: Callable[[], str]) -> None:
        """Bad, if *wrong* never gives "" in a minute."""
        deadline = time.monotonic() + self._plan.hang
        while server.alive and (found := wrong()):
            if time.monotonic() > deadline:
                self._bad(kind, found)
                return
            time.sleep(0.1)

    def _end(self, server: Server, how: str) -> None:
        """End the mount, with its clients at work unless it is quiet."""
        if self._hung:
            how = "SIGKILL"
            self._bad("a server hangs", f"open: {_by_kind(server.files())}\n{server.where()}")
        match how:
            case "SIGKILL":
                server.signal(signal.SIGKILL)
                self.report.done["servers killed"] += 1
            case "SIGTERM" | "SIGINT":
                server.signal(getattr(signal, how))
            case "quiet":
                if complaint := server.unmount():
                    self._bad("a mount that nobody uses is busy", complaint)
                    server.signal(signal.SIGTERM)
            case _:
                server.unmount("-z")
                self._dismiss()  # a detached mount lives until its last file is closed
        if not server.ended_within(GONE_WITHIN + 15):
            self._bad(
                "a server does not end",
                f"{how}, open: {_by_kind(server.files())}\n{server.where()}",
            )
            server.kill()
        self._dismiss()

    def _clear_up(self, server: Server) -> None:
        """After the end: nothing is left, and the images hold what was acknowledged."""
        self._dismiss()
        if left := server.leftovers(_LEFT_WITHIN):
            self._bad("something is left of a mount", left)
        if trouble := server.trouble():
            self._bad("an error that nobody foresaw is in the log", _end_of(trouble))
        for line in server.lines():
            self.report.notes[re.sub(r"0x[0-9a-f]+|\d+", "N", line)] += 1
        server.close()
        self._server = None
        self._read_events()
        for medium in self._media.checked:
            found = ledger_of(medium, self._media.disk).judge_image()
            self.report.done["units checked in images"] += medium.units
            if found:
                more = f"\nand {len(found) - 4} more" if len(found) > 4 else ""
                self._bad("an image holds something else than was written",
                          "\n".join(found[:4]) + more)  # fmt: skip


def _calm(seat: Seat) -> None:
    """Nothing runs and no fault is on; devices that clients have added are gone."""
    known = {medium.schid for medium in seat.media.all}
    with seat.board.doing("paths on, and devices removed"):
        connection = Connection(seat.mount)
        for chpid in ("40", "41", "42", "e0", "e1"):
            connection.send({"do": "chp", "chpid": chpid, "state": "on"})
        names = [name for name in os.listdir(seat.mount) if re.fullmatch(r"\w+\.\w\.\w{4}", name)]
        for name in names:
            if name not in known:
                connection.send({"do": "remove", "subchannel": name})
        connection.close()
    for name in known.intersection(names):
        with seat.board.doing(f"reset of {name}"):
            off = "fault=none,delay=0s,order=big,csense=off"
            write_file(seat.mount / name / "control", off)
            write_file(seat.mount / name / "reset", "1")


def _writing(medium: Medium) -> Role:
    return partial(_write, medium)


def _write(medium: Medium, seat: Seat) -> None:
    writers.write(seat, medium)


def _checking(medium: Medium, seat: Seat) -> None:
    writers.check(seat, medium)


def _busy(server: Server) -> str:
    before = server.cpu()
    time.sleep(1)
    used = server.cpu() - before
    return "" if used <= _IDLE else f"{used:.2f} s of the processor in a second, and no client"


def _end_of(log: str) -> str:
    """The last lines of *log*, where an error says what it is."""
    lines = [line for line in log.splitlines() if line.strip(" |+-")]
    return "\n".join(lines[-14:])


def _by_kind(files: list[str]) -> str:
    kinds: dict[str, int] = {}
    for name in files:
        kind = re.sub(r"\d+", "N", name)
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{n} x {k}" for k, n in sorted(kinds.items(), key=lambda one: -one[1])[:12])
