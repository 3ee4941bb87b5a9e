"""Run a scenario on the channel subsystem and write down what happened.

There is no client between scenario and channel: status stays pending until the scenario's own TSCH;
what is left after its last step is taken by steps that are added. The JSON is that of the recorded
programs (`tests/vectors/README.md`). Who calls it has checked it (`schema`), and gives what lays
out the programs that are said CCW by CCW: that is a client's work.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, Final, Protocol

import trio

from ..css.debugger import Debugger
from ..css.executor import TrioExecutor
from ..css.subchannel import OperandException, Subchannel
from ..css.trace import Event, Trace
from ..css.tracewords import words_for
from ..devices.base import Device
from ..devices.catalog import attach
from ..devices.options import DeviceSpec
from ..errors import UserError, shortened
from ..memory.backing import BuiltInStorage
from ..memory.space import AddressSpace, StorageKeys
from ..regions import codec
from ..regions import constants as c
from ..regions.descriptions import DeviceWords
from .debugging import DebuggerPipes
from .images import Images
from .pictures import Piece, changes, overlay, picture, pieces_of, take_room
from .schema import MEMORY_SIZE

Json = dict[str, Any]
Tell = Callable[[str], None]
"""Takes one line of a trace."""

OPERAND_EXCEPTION: Final = 21
"""Program-interruption code of an operand exception."""
WAIT: Final = 0.5
"""Most seconds of an enabled wait, which a program on a busy machine needs; where no function is in
progress it ends at once."""
DRAINS: Final = 32
"""Most interruptions that are taken after the last step."""


class Laid(Protocol):
    """A channel program that is laid out in storage."""

    orb: bytes
    """The ORB that starts it, big endian."""
    address: int
    """Where in storage it begins."""
    content: memoryview
    """All that it takes from there on: CCWs, lists of IDAWs, data."""

    def received(self, irb: bytes) -> list[tuple[int, int, bytes]]:
        """What its CCWs have read when it has ended with *irb*: number from 1, address, bytes.

        Nothing if *irb* does not conclude its start function.
        """


class Programs(Protocol):
    """What lays out the programs of a scenario, each in room of its own."""

    def lay_out(self, step: Json) -> Laid:
        """The program that the `ccws` of *step* say, in storage.

        UserError names the CCW and what is wrong with it.
        """


Layer = Callable[[str, DeviceWords], AbstractContextManager[Programs]]
"""Makes one for the storage in a file, and a device; programs stay in storage until it is left.

Room in storage is what nobody has locked (`ofd`)."""


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
        programs: Programs | None,
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
        self._programs = programs
        self._laid: Laid | None = None
        self.laid: list[Piece] = []
        """The programs that were laid out, as they were then."""
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
            await trio.sleep(step["ms"] / 1000)
        elif operation == "wait":
            done["interrupt"] = await self._wait()
        elif self._sch is None:
            done["cc"] = 3
        else:
            self._instruction(self._sch, operation, step, done)
        run_soon(self._soon)
        if self._trace is not None:
            self._trace(f"{operation:6} {_shown(done)}")
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
                    orb = self._orb(step, done)
                    done["cc"] = sch.ssch(codec.ORB.parse(orb))
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
                        self._show_what_was_read(irb, done)
                    if cc == 0:
                        self._interruption = sch.scsw.status_pending
        except OperandException:
            done["cc"] = None
            done["program_interrupt"] = OPERAND_EXCEPTION

    def _orb(self, step: Json, done: Json) -> bytes:
        """The ORB of an ssch: its own, or that of its CCWs, which are laid out now."""
        if "ccws" not in step:
            return bytes.fromhex(step["orb"])
        if self._programs is None:
            raise UserError("ccws: whoever runs this scenario takes an ORB alone")
        laid = self._laid = self._programs.lay_out(step)
        content = bytes(laid.content)
        self.laid.append((laid.address, content))
        done["orb"], done["memory"] = laid.orb.hex(), [[laid.address, content.hex()]]
        return laid.orb

    def _show_what_was_read(self, irb: bytes, done: Json) -> None:
        """Put what the CCWs of the program have read into *done*, if *irb* says that it ended."""
        found = self._laid.received(irb) if self._laid is not None else []
        if found:
            done["read"] = [
                {"ccw": number, "address": address, "data": data.hex()}
                for number, address, data in found
            ]

    async def run(self) -> list[Json]:
        """Do all steps, then take what interruptions are left; UserError names the step."""
        steps = []
        for number, step in enumerate(self._source["steps"]):
            try:
                steps.append(await self.step(step))
            except UserError as wrong:
                raise UserError(f"steps[{number}].{wrong.message}") from None
        for _ in range(DRAINS):
            if not self._interruption:
                break
            steps.append(await self.step({"op": "wait"}))
            steps.append(await self.step({"op": "tsch"}))
        return steps


_OPERANDS: Final = frozenset(
    (
        *("op", "orb", "mods", "memory", "ms"),
        *("ccws", "format", "prefetch", "idaw", "lpm", "key", "intparm"),
    )
)


def _shown(done: Json) -> str:
    """What a step did, in a line of a trace; what it put into storage is seen in its CCWs."""
    words = []
    for key, value in done.items():
        if key == "ccws":
            value = " ".join(value)
        elif key == "read":
            value = " ".join(f"#{one['ccw']}:{one['data']}" for one in value)
        if key != "op" and not (key == "memory" and "ccws" in done):
            words.append(f"{key}={value}")
    return " ".join(words)


async def run_scenario(
    source: Json,
    images: Images,
    trace: Tell | None = None,
    pipes: DebuggerPipes | None = None,
    layer: Layer | None = None,
) -> Json:
    """Run *source*; gives it with the steps, `memory_after` and `image_after` as they came out.

    Who is at the other end of *pipes* debugs it; *layer* lays out programs that are said CCW by
    CCW. UserError if the scenario asks for what cannot be: it names the place. Whatever its
    programs do wrong is a result.
    """
    with tempfile.TemporaryDirectory(prefix="vfioccw-") as scratch:
        storage = BuiltInStorage(scratch, source.get("memory_size", MEMORY_SIZE))
        try:
            with images.fresh(source["device"]) as (spec, path):
                return await _run(source, storage, spec, path, trace, pipes, layer)
        finally:
            storage.close()


def _attached(spec: DeviceSpec, said: Json) -> Device:
    """The device of a scenario, which has *said* it; UserError in the scenario's own words."""
    try:
        return attach(spec)
    except UserError as wrong:
        why = wrong.message.removeprefix(f"{spec.path}: ")
        if "image" in said:
            raise UserError(f"device.image: {shortened(said['image'])}: {why}") from None
        raise UserError(f"device: image is missing: {why}") from None


async def _run(
    source: Json,
    storage: BuiltInStorage,
    spec: DeviceSpec,
    path: str | None,
    trace: Tell | None,
    pipes: DebuggerPipes | None,
    layer: Layer | None,
) -> Json:
    space = AddressSpace([storage.range()])
    initial = list(pieces_of("memory", source.get("memory", []), storage.size))
    stored = [
        piece
        for number, step in enumerate(source["steps"])
        if step["op"] == "store"
        for piece in pieces_of(f"steps[{number}].memory", step["memory"], storage.size)
    ]
    for address, data in initial:
        space.write(address, data)
    take_room(storage.fd, [*initial, *stored])
    before = picture(storage.fd, initial, stored)
    before_image = _digest(path)
    device = _attached(spec, source["device"])
    problem: UserError | None = None
    laid: list[Piece] = []
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
                    debugger = pipes.attach(sch, shortened(source.get("name", "scenario")))
                if pipes is not None and debugger is not None:
                    nursery.start_soon(pipes.serve, debugger, partial(run_soon, soon))
            nursery.start_soon(device.service)
            with ExitStack() as opened:
                programs = None
                if layer is not None:
                    programs = opened.enter_context(layer(storage.path, device.words))
                scenario = Scenario(source, storage, sch, soon, trace, debugger, programs)
                try:
                    steps, laid = await scenario.run(), scenario.laid
                except UserError as error:
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
    for address, data in laid:
        overlay(before, address, data)
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
