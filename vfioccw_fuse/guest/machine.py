"""One guest: boots, does what its console is told, and ends.

QEMU's options are those of the fact sheet that everything here was measured with: no graphics, the
console on SCLP, no reboot (a reboot of an emulated s390x hangs).
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

from ..children import ending_with_us, ready
from . import GuestError
from .archive import Archive
from .given import GuestFile, read_module
from .parts import Parts

HERE: Final = Path(__file__).resolve().parent
# Not what lies in the directory where the user is.
VFIOCCW: Final = (sys.executable, "-P", "-m", "vfioccw_fuse")
"""The command line of this package, by the Python that runs."""
QEMU: Final = "qemu-system-s390x"
CONSOLE: Final = "console=ttysclp0 panic=1"
BOOT_SECONDS: Final = 120.0
"""A guest that is not up by then has failed; plain boots take 4 to 15."""
END_SECONDS: Final = 90.0
NESTED_MEMORY: Final = "128M"
"""QEMU's -m of a guest in the guest."""
NESTED_MARK: Final = "nested "
"""With what its init begins what it says of itself; `nested.sh` looks for it."""
Mode = Literal["shell", "driven", "script"]


@dataclass(frozen=True)
class Options:
    """What kind of guest."""

    devices: Sequence[str] = ()
    """`--device` of `vfioccw qemu`."""
    spares: Sequence[str] = ()
    """`--spare` of `vfioccw qemu`."""
    iommufd: bool = False
    """`--iommufd` of `vfioccw qemu`."""
    memory: str = "512M"
    """QEMU's -m."""
    processors: int = 1
    """QEMU's -smp."""
    tools: bool = False
    """With dasdfmt, fdasd, mkfs.ext4, fio and so on."""
    qemu: Sequence[str] = ()
    """Further options of QEMU."""
    nested: bool = False
    """With QEMU in the guest, and what boots a second guest in it; on one processor only, as QEMU
    emulates that QEMU's threads wrongly on two (seen with 7.2)."""
    kernel: bool = True
    """False: boot from a device instead of our kernel and initramfs."""
    append: str = ""
    """Further words for the kernel."""
    modules: Sequence[Path] = ()
    """Modules that are loaded after the kernel's own, in this order."""
    files: Sequence[GuestFile] = ()
    """Files that are added; later ones go before earlier ones of that name."""
    bind: str = ""
    """The driver of bus css that `bound` are given to; empty: they stay with io_subchannel."""
    bound: Sequence[str] = ()
    """Bus ids of devices, such as 0.0.1234."""
    quiet: bool = True
    """The kernel's messages stay off the console; dmesg has them."""
    prefix: Sequence[str] = field(default=())
    """A command that runs all of it, such as taskset."""


def write_initramfs(
    file: BinaryIO, parts: Parts, mode: Mode, options: Options, script: bytes = b"", mark: str = ""
) -> None:
    """Write the initramfs of a guest to *file*.

    In *mode* "script" it runs the *script*; what it says of itself on the console then begins with
    @@ and *mark*.
    """
    modules = parts.modules()
    archives = [modules] if modules else []
    archives += [parts.tools()] if options.tools else []
    archives += [parts.emulator()] if options.nested else []
    for archive in archives:
        with open(archive, "rb") as source:
            shutil.copyfileobj(source, file)
    said = {
        "mode": mode, "mark": mark, "verbose": "" if options.quiet else "yes",
        "driver": options.bind, "bound": " ".join(options.bound),
    }  # fmt: skip
    with Archive(file) as own:
        own.device("dev/console", 5, 1)
        for name in ("proc", "sys", "tmp", "mnt", "etc"):
            own.directory(name)
        own.copy(parts.busybox(), "bin/busybox")
        own.file("init", (HERE / "init.sh").read_bytes())
        for name in ("online", "offline", "bind", *(["nested"] if options.nested else [])):
            own.file(f"bin/{name}", (HERE / f"{name}.sh").read_bytes())
        settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in said.items())
        own.file("guest", settings.encode(), 0o644)
        for number, path in enumerate(options.modules):
            name = path.name.partition(".")[0]
            own.file(f"added/{number:03}-{name}.ko", read_module(path), 0o644)
        if mode == "script":
            own.file("script", script)
        for source_file, place in options.files:
            own.copy(source_file, place)
        if options.nested:
            own.copy(parts.kernel(), "nested/kernel")
            inner = io.BytesIO()
            write_initramfs(inner, parts, mode, Options(quiet=options.quiet), mark=NESTED_MARK)
            own.file("nested/initramfs", inner.getvalue(), 0o644)
            own.file("nested/machine", shlex.join(_nested_machine(options)).encode(), 0o644)


def qemu_command(
    options: Options, kernel: Path, initramfs: Path | str, console: Sequence[str]
) -> list[str]:
    """The command line that starts the guest; *console* makes the chardev named console."""
    machine = _machine("max", options, console)
    if options.kernel:
        machine += _boot(kernel, initramfs, options)
    ours = [word for spec in options.devices for word in ("--device", spec)]
    ours += [word for spec in options.spares for word in ("--spare", spec)]
    ours += ["--iommufd"] if options.iommufd else []
    return [*options.prefix, *VFIOCCW, "qemu", *ours, "--", *machine, *options.qemu]


def _machine(cpu: str, options: Options, console: Sequence[str]) -> list[str]:
    return [
        *(QEMU, "-M", "s390-ccw-virtio", "-cpu", cpu, "-m", options.memory),
        *("-smp", str(options.processors), "-nodefaults", "-display", "none", "-no-reboot"),
        *(*console, "-device", "sclpconsole,chardev=console"),
    ]


def _boot(kernel: Path | str, initramfs: Path | str, options: Options) -> list[str]:
    words = (CONSOLE, "quiet loglevel=1" if options.quiet else "", options.append)
    return [
        *("-kernel", str(kernel), "-initrd", str(initramfs)),
        *("-append", " ".join(filter(None, words))),
    ]


def _nested_machine(options: Options) -> list[str]:
    """What starts QEMU in the guest, but for the devices."""
    # By an emulated processor QEMU emulates some things of the newest one wrongly, and programs
    # whose addresses are random end with segmentation faults.
    inner = Options(memory=NESTED_MEMORY, quiet=options.quiet, append="norandmaps")
    console = ["-chardev", "stdio,id=console,signal=off"]
    boot = _boot("/nested/kernel", "/nested/initramfs", inner)
    return [*_machine("qemu", inner, console), *boot]


class ConsoleError(GuestError):
    """A guest did not say what was waited for."""

    def __init__(self, what: str, console: str) -> None:
        super().__init__(f"the guest failed: {what}; {console}")
        self.what = what
        """What became of it, without the *console*."""


class Guest:
    """A running guest, driven over its console and QEMU's monitor."""

    def __init__(self, options: Options, parts: Parts | None = None) -> None:
        """Start it; GuestError if QEMU ends at once. `close` ends it."""
        parts = parts or Parts()
        if options.kernel:
            kernel = parts.kernel()
        self._stack = contextlib.ExitStack()
        place = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="guest-")))
        self._errors = place / "stderr"
        initramfs = place / "initramfs"
        if options.kernel:
            with open(initramfs, "wb") as file:
                write_initramfs(file, parts, "driven", options)
        else:
            kernel = place
        self.console_text = ""
        """Everything that came over the console so far."""
        self._taken = 0
        self._events: list[dict[str, Any]] = []
        self._monitor_rest = b""
        listeners = [self._listen(place / name) for name in ("console", "monitor")]
        console = ["-chardev", f"socket,id=console,path={place / 'console'}"]
        monitor = ["-chardev", f"socket,id=monitor,path={place / 'monitor'}"]
        monitor += ["-qmp", "chardev:monitor"]
        command = qemu_command(options, kernel, initramfs, [*console, *monitor])
        try:
            with open(self._errors, "w") as errors:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                    preexec_fn=ending_with_us(),
                )  # fmt: skip
                """The process of `vfioccw qemu`."""
            self._console, self._monitor = (self._accept(listener) for listener in listeners)
            self._message()
            self.monitor("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def _listen(self, path: Path) -> socket.socket:
        listener = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(1)
        return listener

    def _accept(self, listener: socket.socket) -> socket.socket:
        deadline = time.monotonic() + END_SECONDS
        while not select.select([listener], [], [], 0.1)[0]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise GuestError(
                    f"QEMU did not start: {self.errors().strip() or 'it says nothing'}"
                )
        return self._stack.enter_context(listener.accept()[0])

    def errors(self) -> str:
        """What `vfioccw qemu` and QEMU wrote to stdout and stderr so far."""
        return self._errors.read_text(errors="replace")

    def close(self) -> None:
        """End the guest if it still runs, the hard way if it must be."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._stack.close()

    # --- the console --------------------------------------------------------------------------

    def expect(self, pattern: str, seconds: float = BOOT_SECONDS) -> re.Match[str]:
        """Wait for *pattern* in what the console shows after the last match."""
        deadline = time.monotonic() + seconds
        while True:
            found = re.compile(pattern, re.DOTALL).search(self.console_text, self._taken)
            if found:
                self._taken = found.end()
                return found
            left = deadline - time.monotonic()
            shown = self.console_text[self._taken :][-2000:]
            if left <= 0:
                hangs = f"it hangs, or takes longer than {seconds:g} s"
                raise ConsoleError(hangs, f"waiting for {pattern!r}, the console shows {shown!r}")
            if not ready(self._console, left):
                continue
            data = self._console.recv(65536)
            if not data:
                ended = f"it ended: {self.errors().strip()}"
                raise ConsoleError(ended, f"the console shows {shown!r}")
            self.console_text += data.decode(errors="replace").replace("\r", "")

    def boot(self) -> None:
        """Wait until the guest takes commands; GuestError if a module or driver failed."""
        said = self.expect(r"@@(?:ready|failed ([^\n]*))@@\n")
        if said[1] is not None:
            raise GuestError(said[1])

    def run(self, command: str, seconds: float = 60.0) -> tuple[int, str]:
        """Run shell lines in the guest; exit status and output."""
        self.send(command)
        return self.result(seconds)

    def send(self, command: str) -> None:
        """Start shell lines in the guest; `result` waits for their end."""
        self.type(f'{{\n{command}\n}} </dev/null 2>&1; echo "@@$?@@"\n')

    def type(self, text: str) -> None:
        """Type *text* on the console.

        A guest of one processor takes any length; one of more that has not read 4,096 bytes, which
        is what a terminal keeps, may stop to read for good.
        """
        self._console.sendall(text.encode())

    def result(self, seconds: float = 60.0) -> tuple[int, str]:
        """The exit status and output of what was sent last."""
        found = self.expect(r"(.*?)@@(\d+)@@\n", seconds)
        return int(found[2]), found[1]

    def check(self, command: str, seconds: float = 60.0) -> str:
        """Run shell lines that must succeed; their output without the blanks around it."""
        status, output = self.run(command, seconds)
        if status:
            raise GuestError(f"{command!r} ended with {status}: {output!r}")
        return output.strip()

    def power_off(self) -> int:
        """Let the guest end in order; the exit status of `vfioccw qemu`."""
        self._console.sendall(b"poweroff -f\n")
        return self.process.wait(END_SECONDS)

    # --- the monitor --------------------------------------------------------------------------

    def monitor(self, command: str, **arguments: Any) -> Any:
        """Run a QMP command; what it returns. GuestError with what QEMU says if it fails."""
        message = {"execute": command, "arguments": arguments}
        self._monitor.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = self._message()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise GuestError(f"{command}: {answer['error']['desc']}")
            self._events.append(answer)

    def await_event(self, name: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait for a QMP event."""
        deadline = time.monotonic() + seconds
        while True:
            for event in self._events:
                if event.get("event") == name:
                    self._events.remove(event)
                    return event
            left = deadline - time.monotonic()
            if left <= 0:
                raise GuestError(f"no {name} within {seconds:g} s; {self.errors()!r}")
            if b"\n" in self._monitor_rest or ready(self._monitor, left):
                self._events.append(self._message())

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._monitor_rest:
            if not select.select([self._monitor], [], [], END_SECONDS)[0]:
                raise GuestError(f"QEMU's monitor does not answer; {self.errors()!r}")
            data = self._monitor.recv(65536)
            if not data:
                raise GuestError(f"QEMU ended; {self.errors()!r}")
            self._monitor_rest += data
        line, _, self._monitor_rest = self._monitor_rest.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


@contextlib.contextmanager
def booted(options: Options, parts: Parts | None = None) -> Iterator[Guest]:
    """A guest that takes commands; ended at the end of the context."""
    guest = Guest(options, parts)
    try:
        guest.boot()
        yield guest
    finally:
        guest.close()
