"""Run a scenario on the channel subsystem and write down what happened.

There is no client between scenario and channel: status stays pending until the scenario's own TSCH;
what is left after its last step is taken by steps that are added. The JSON is that of the recorded
programs (`tests/vectors/README.md`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from typing import Any, Final

import trio

from ..css.debugger import Debugger
from ..css.executor import TrioExecutor
from ..css.subchannel import OperandException, Subchannel
from ..css.trace import Event, Trace
from ..css.tracewords import words_for
from ..devices.catalog import attach, device_class
from ..devices.options import SENSE_ID, SYNC, DeviceSpec, SenseId, Sync, parse_medium
from ..errors import UserError, shortened
from ..memory.backing import LARGEST, BuiltInStorage
from ..memory.space import AddressingError, AddressSpace, StorageKeys
from ..regions import codec
from ..regions import constants as c
from ..regions.descriptions import DeviceWords
from .debugging import DebuggerPipes
from .pictures import changes, picture, pieces_of

Json = dict[str, Any]
Tell = Callable[[str], None]
"""Takes one line of a trace."""

OPERAND_EXCEPTION: Final = 21
"""Program-interruption code of an operand exception."""
WAIT: Final = 0.5
"""Most seconds of an enabled wait, which a program on a busy machine needs; where no function is in
progress it ends at once."""
LONGEST_DELAY: Final = 3_600_000
"""Most milliseconds of a delay: an hour."""
DRAINS: Final = 32
"""Most interruptions that are taken after the last step."""


class Images:
    """The images that scenarios name: `images.json` of a directory."""

    def __init__(self, directory: str) -> None:
        """UserError if *directory* has an `images.json` that cannot be read or is none."""
        self.directory = directory
        self._known: dict[str, Json] = {}
        index = os.path.join(directory, "images.json")
        if os.path.exists(index):
            try:
                with open(index, encoding="utf-8") as file:
                    self._known = json.load(file)
            except (OSError, ValueError, RecursionError) as error:
                raise UserError(f"{index}: {error}") from None
            known: Any = self._known
            if not isinstance(known, dict) or not all(
                isinstance(entry, dict) for entry in known.values()
            ):
                raise UserError(f"{index}: write one JSON object, an object for each image in it")

    @contextmanager
    def fresh(self, device: Json) -> Iterator[tuple[DeviceSpec, str | None]]:
        """A copy of the medium of *device* for one scenario: how to attach it, and its path.

        A device that names no image gets an empty file; the path is None where the image is that
        of a drive without a medium. UserError for a name that `images.json` has not, and for a
        file that is not in its directory.
        """
        name = device.get("image")
        entry = self._known.get(name, {}) if name else {}
        if name and not entry:
            raise UserError(
                f"{name}: no such image in {os.path.join(self.directory, 'images.json')}"
            )
        words = {}
        if "control_unit" in entry:
            words["cu"] = entry["control_unit"]
        if entry.get("readonly", False):
            words["readonly"] = ""
        with tempfile.TemporaryDirectory(prefix="vfioccw-") as scratch:
            path = None
            if not ("medium" in entry and entry["medium"] is None):
                path = os.path.join(scratch, "medium")
                if "file" in entry:
                    source = self._file(shortened(str(name)), entry["file"])
                    path = os.path.join(scratch, os.path.basename(source))
                    shutil.copyfile(source, path)
                else:
                    with open(path, "wb"):
                        pass
            known = device_class(device["type"]).options
            if SENSE_ID.word in known:
                words[SENSE_ID.word] = SenseId.LEGACY  # as the recorded emulator's devices
            options = known.read(words)
            options[SYNC.word] = Sync.NEVER  # it is a copy, and gone in a moment
            yield DeviceSpec(device["type"], "0.0.0000", path or "", options), path

    def _file(self, name: str, file: Any) -> str:
        """The absolute path of the *file* of the image *name*.

        UserError unless it lies in the directory: its name is relative and has no `..`, and no
        symbolic link leads out. An `images.json` may come from anybody.
        """
        index = os.path.join(self.directory, "images.json")
        if not isinstance(file, str):
            raise UserError(f"{index}: {name}: file must be a string")
        parse_medium(file)
        directory = os.path.realpath(self.directory)
        path = os.path.realpath(os.path.join(directory, file))
        named = PurePath(file)
        inside = os.path.commonpath((directory, path)) == directory != path
        if named.is_absolute() or ".." in named.parts or not inside:
            raise UserError(
                f"{index}: {name}: {shortened(file)} is not in this directory; put the file there"
            )
        if not os.path.isfile(path):
            raise UserError(f"{index}: {name}: {shortened(file)}: no such file")
        return path


def _digest(path: str | None) -> str:
    if path is None:
        return hashlib.sha256(b"").hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _say(say: Callable[[str], None], device: DeviceWords, event: Event) -> None:
    """Say a line for *event* of a trace."""
    what, text = words_for(event, device)
    say(f"       {what} {text}")


def run_soon(soon: deque[Callable[[], None]]) -> None:
    """Do what the executor was asked to do after an instruction."""
    while soon:
        soon.popleft()()


class Scenario:
    """One scenario in progress: its storage, its subchannel, and the steps."""

    def __init__(
        self,
        source: Json,
        storage: BuiltInStorage,
        sch: Subchannel | None,
        soon: deque[Callable[[], None]],
        trace: Tell | None,
        debugger: Debugger | None,
    ) -> None:
        """*soon*: what the executor was asked to do after the instruction in progress.

        *sch* is None where the subchannel does not exist: its instructions end with cc 3. The
        scenario stands still while *debugger* holds, and so does its time.
        """
        self._source = source
        self._storage = storage
        self._space = AddressSpace([storage.range()])
        self._sch = sch
        self._trace = trace
        self._soon = soon
        self._debugger = debugger
        self._interruption = False
        self._news = trio.Event()
        if sch is not None:
            sch.pending.on_status_pending = self._status_pending

    def _status_pending(self) -> None:
        self._interruption = True
        self._news.set()

    async def _interrupted(self, seconds: float) -> bool:
        """Whether an interruption is pending within *seconds*; no longer than one can come."""
        while True:
            with trio.move_on_after(seconds):
                while not self._interruption and self._sch is not None and self._sch.busy:
                    self._news = trio.Event()
                    await self._news.wait()
            if self._interruption or self._debugger is None or not self._debugger.holds:
                return self._interruption
            await self._debugger.released()

    async def step(self, step: Json) -> Json:
        """Do one step; gives it, without the operand of an MSCH, with what happened."""
        if self._debugger is not None:
            await self._debugger.released()
        operation = step["op"]
        done = {key: value for key, value in step.items() if key in _OPERANDS}
        if operation == "store":
            for address, data in step["memory"]:
                self._space.write(address, bytes.fromhex(data))
        elif operation == "delay":
            ms = step["ms"]
            if not 0 <= ms <= LONGEST_DELAY:
                raise UserError(f"delay: ms is 0 to {LONGEST_DELAY}")
            await trio.sleep(ms / 1000)
        elif operation == "wait":
            done["interrupt"] = await self._wait()
        elif self._sch is None:
            done["cc"] = 3
        else:
            self._instruction(self._sch, operation, step, done)
        run_soon(self._soon)
        if self._trace is not None:
            shown = " ".join(f"{key}={value}" for key, value in done.items() if key != "op")
            self._trace(f"{operation:6} {shown}")
        await trio.lowlevel.checkpoint()
        return done

    async def _wait(self) -> str | None:
        if not await self._interrupted(WAIT) or self._sch is None:
            return None
        self._interruption = False
        sch = self._sch
        isc = (sch.pmcw.flags & c.PMCW_FLAGS_MASK_ISC) >> c.PMCW_ISC_SHIFT
        return f"{0x10000 | sch.number:08x}{sch.pmcw.intparm:08x}{isc << 27:08x}"

    def _instruction(self, sch: Subchannel, operation: str, step: Json, done: Json) -> None:
        try:
            match operation:
                case "ssch":
                    done["cc"] = sch.ssch(codec.ORB.parse(bytes.fromhex(step["orb"])))
                case "hsch":
                    done["cc"] = sch.hsch()
                case "csch":
                    done["cc"] = sch.csch()
                case "rsch":
                    done["cc"] = sch.rsch()
                case "xsch":
                    done["cc"] = sch.xsch()
                case "stsch":
                    done["cc"], done["schib"] = 0, sch.stsch().hex()
                case "msch":
                    done["cc"] = sch.msch(bytes.fromhex(step["schib"]))
                case "tsch":
                    cc, irb = sch.tsch()
                    done["cc"] = cc
                    if irb:
                        done["irb"] = irb.hex()
                    if cc == 0:
                        self._interruption = sch.scsw.status_pending
                case _:
                    raise UserError(f"step {operation}: unknown; see the README of the vectors")
        except OperandException:
            done["cc"] = None
            done["program_interrupt"] = OPERAND_EXCEPTION

    async def run(self) -> list[Json]:
        """Do all steps, then take what interruptions are left."""
        steps = [await self.step(step) for step in self._source["steps"]]
        for _ in range(DRAINS):
            if not self._interruption:
                break
            steps.append(await self.step({"op": "wait"}))
            steps.append(await self.step({"op": "tsch"}))
        return steps


MALFORMED: Final = (
    *(LookupError, TypeError, ValueError, AttributeError, OverflowError),
    *(struct.error, AddressingError),
)
"""What a scenario that is none, or a recording, makes happen."""
_OPERANDS: Final = frozenset({"op", "orb", "mods", "memory", "ms", "program"})


async def run_scenario(
    source: Json, images: Images, trace: Tell | None = None, pipes: DebuggerPipes | None = None
) -> Json:
    """Run *source*; gives it with the steps, `memory_after` and `image_after` as they came out.

    Who is at the other end of *pipes* debugs it. UserError if the scenario itself is wrong;
    whatever its programs do wrong is a result.
    """
    try:
        device = source["device"]
        size = source["memory_size"]
        if type(size) is not int or not 0 < size <= LARGEST:
            raise UserError(
                f"memory_size {shortened(repr(size))}: a number of bytes, at most {LARGEST}"
            )
        with tempfile.TemporaryDirectory(prefix="vfioccw-") as scratch:
            storage = BuiltInStorage(scratch, size)
            try:
                with images.fresh(device) as (spec, path):
                    return await _run(source, storage, spec, path, trace, pipes)
            finally:
                storage.close()
    except MALFORMED as error:
        what = shortened(f"{type(error).__name__} {error}")
        raise UserError(f"{_name(source)}: not a scenario: {what}") from error
    except UserError as wrong:
        raise UserError(f"{_name(source)}: {wrong.message}") from None


def _name(source: Json) -> str:
    return shortened(str(source.get("name", "scenario")))


async def _run(
    source: Json,
    storage: BuiltInStorage,
    spec: DeviceSpec,
    path: str | None,
    trace: Tell | None,
    pipes: DebuggerPipes | None,
) -> Json:
    space = AddressSpace([storage.range()])
    initial = list(pieces_of(source["memory"], storage.size))
    stored = [
        piece
        for step in source["steps"]
        if step["op"] == "store"
        for piece in pieces_of(step["memory"], storage.size)
    ]
    for address, data in initial:
        space.write(address, data)
    before = picture(storage.fd, initial, stored)
    before_image = _digest(path)
    device = attach(spec)
    problem: Exception | None = None
    steps: list[Json] = []
    try:
        async with trio.open_nursery() as nursery:
            sch = debugger = None
            soon: deque[Callable[[], None]] = deque()
            if "schid" not in source["device"]:
                space.keys = StorageKeys()
                sch = Subchannel(
                    "0.0.0000",
                    device,
                    space,
                    TrioExecutor(nursery, soon.append, alone=pipes is None),
                    chpids=b"\x0a",
                )
                if trace is not None:
                    sch.follow(Trace(sch, partial(_say, trace, device.words)))
                sch.pmcw.chars = int(bool(source["device"].get("csense")))
                sch.enable()
                if pipes is not None:
                    debugger = pipes.attach(sch, _name(source))
                if pipes is not None and debugger is not None:
                    nursery.start_soon(pipes.serve, debugger, partial(run_soon, soon))
            nursery.start_soon(device.service)
            try:
                steps = await Scenario(source, storage, sch, soon, trace, debugger).run()
            except (*MALFORMED, UserError) as error:
                problem = error
            if pipes is not None and debugger is not None:
                pipes.detach(debugger)
            if sch is not None:
                sch.quiesce()
            nursery.cancel_scope.cancel()
    finally:
        device.close()
    if problem is not None:
        raise problem
    after_image = _digest(path)
    return {
        **{key: value for key, value in source.items() if key != "alt_3_13"},
        "steps": steps,
        "memory_after": changes(storage.fd, before, storage.size),
        "image_after": {
            "sha256_before": before_image,
            "sha256_after": after_image,
            "changed": after_image != before_image,
        },
    }
