"""The mount under attack: a real server in the foreground, its log, and what it uses."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

from attack.media import Media
from lab.mounts import PROJECT, Mount, abort, command, detach, is_mounted
from lab.processes import cpu_time, files_of, status_of
from lab.waits import until

READY_WITHIN = 60.0
"""Seconds in which a mount must be usable."""
_FILES = 1024
"""Files that the server may have open, so that a client can use them up."""
_FILE_SIZE = 256 << 20
"""How long it may make a file: printed lines must not fill the disk."""
_TROUBLE = ("Traceback (most recent call last)", "Fatal Python error", "Exception ignored")


class NotMounted(Exception):
    """The mount did not come up; why, in its own words."""


class Server:
    """One life of the mount."""

    def __init__(self, point: Path, media: Media, log: Path, *, few_files: bool) -> None:
        """Mount *media* at *point*; the server writes to *log*, and may have *few_files* open."""
        shutil.rmtree(point, ignore_errors=True)  # an attacker may have made files in it
        point.mkdir()
        self.point = point
        self.log = log
        self.ending = False
        """Somebody has been told to end it: that it ends is no surprise."""
        words = [word for medium in media.all for word in ("--device", medium.spec)]
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command("mount", "-f", point, *words),
                env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONFAULTHANDLER": "1",
                     "VFIOCCW_TRACEBACK": "1"},
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        if few_files:
            resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, (_FILES, _FILES))
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (_FILE_SIZE, _FILE_SIZE))
        try:
            until(self._is_ready, "the mount is usable", READY_WITHIN)
        except AssertionError as error:
            self.kill()
            raise NotMounted(f"{error}: {self.said()}") from None
        if self._process.poll() is not None:
            raise NotMounted(self.said())
        self.mount = Mount(point)
        """What the lab knows of it."""
        self._looked_at = 0

    def _is_ready(self) -> bool:
        return "mounted; Ctrl-C" in self.said() or self._process.poll() is not None

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def trouble(self) -> str:
        """What is new in its log, if that tells of an error that nobody foresaw; else ""."""
        size = self.log.stat().st_size
        if size == self._looked_at:
            return ""
        text = self.log.read_text(errors="replace")
        new, self._looked_at = text[self._looked_at :], len(text)
        return new if any(word in new for word in _TROUBLE) else ""

    def lines(self) -> list[str]:
        """What it has logged, but for the line that says that it is there."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if "mounted; Ctrl-C" not in line]

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status, or the signal that ended it, negated; None while it lives."""
        return self._process.poll()

    def files(self) -> list[str]:
        """What it has open."""
        return files_of(self._process.pid)

    def anonymous(self) -> float:
        """MiB of its memory that no file is behind."""
        found = status_of(Path(f"/proc/{self._process.pid}/status"))
        return int(found["RssAnon"].split()[0]) / 1024

    def cpu(self) -> float:
        """Seconds of the processor that it has used."""
        return cpu_time(self._process.pid)

    def signal(self, number: int) -> None:
        """Tell it to end, or kill it."""
        self.ending = True
        self._process.send_signal(number)

    def where(self) -> str:
        """End it, so that it says where its threads are; what it is worth while it hangs."""
        with contextlib.suppress(OSError):
            before = len(self.said())
            wchan = Path(f"/proc/{self._process.pid}/wchan").read_text()
            self.signal(signal.SIGABRT)
            self.ended_within(10)
            self.trouble()  # these lines are of our making
            return f"in {wchan}\n{self.said()[before:][-3000:]}"
        return ""

    def kill(self) -> None:
        """SIGKILL, and nothing mounted any more: the last resort."""
        self.signal(signal.SIGKILL)
        if not self.ended_within(READY_WITHIN):
            abort(self.point)
            self._process.wait()
        if is_mounted(self.point):
            detach(self.point)

    def unmount(self, *options: str) -> str:
        """fusermount3 -u; "" or what it complains of."""
        self.ending = True
        done = self.mount.unmount(*options)
        if done.returncode:
            self.ending = False
        return done.stderr.strip() if done.returncode else ""

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end."""
        deadline = time.monotonic() + seconds
        while self.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        return not self.alive

    def leftovers(self, seconds: float) -> str:
        """What is left of it *seconds* after its end; "" if nothing."""
        try:
            self.mount.assert_nothing_is_left(seconds)
        except AssertionError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """No process and no mount any more, and nothing of ours open."""
        if self.alive or is_mounted(self.point):
            self.kill()
        os.close(self.mount.pidfd)
