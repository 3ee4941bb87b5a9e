"""How the programs of a scenario are laid out: by the client's `Program`, as those of `ssch`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ..client import GuestStorage, Program, Step
from ..client.program import ALL_PATHS
from ..client.subchannel import concludes, received
from ..errors import UserError
from ..regions import codec
from ..regions.constants import SCSW_FCTL_START_FUNC
from ..regions.descriptions import DeviceWords
from .ccwtext import BadCcw, build

Json = dict[str, Any]


class Laid:
    """A program of a scenario in storage: what `scenario.run.Laid` asks for."""

    def __init__(self, built: Program, steps: list[Step], step: Json) -> None:
        """*built* of *steps* is laid out; *step* says what goes into its ORB."""
        self._steps = steps
        orb = built.orb(step.get("intparm", 0), step.get("lpm", ALL_PATHS), key=step.get("key", 0))
        self.orb = codec.ORB.pack(orb)
        """The ORB that starts it, big endian."""
        self.address = built.cpa
        """Where in storage it begins."""
        self.content = built.view
        """All that it takes from there on."""

    def received(self, irb: bytes) -> list[tuple[int, int, bytes]]:
        """What its CCWs have read, if *irb* concludes its start: number, address, bytes."""
        block = codec.IRB.parse(irb)
        if not concludes(block, SCSW_FCTL_START_FUNC):
            return []
        return [(at, step.data_address, data) for at, step, data in received(block, self._steps)]


class Programs:
    """The programs of one scenario, in room that nobody else has reserved."""

    def __init__(self, storage: GuestStorage, device: DeviceWords, opened: ExitStack) -> None:
        """They stay in *storage* until *opened* is closed; *device* names their commands."""
        self._storage = storage
        self._device = device
        self._opened = opened

    def lay_out(self, step: Json) -> Laid:
        """Lay out the `ccws` of *step*; UserError names the one that is wrong, and why."""
        built = self._opened.enter_context(
            Program(
                self._storage,
                fmt=step.get("format", 1),
                prefetch=step.get("prefetch", True),
                idaw=step.get("idaw", 2),
            )
        )
        try:
            steps = build(built, step["ccws"], self._device)
            built.lay_out()
        except BadCcw as wrong:
            raise UserError(f"ccws[{wrong.number}]: {wrong.message}") from None
        except (ValueError, MemoryError) as wrong:
            raise UserError(f"ccws: {wrong}") from None
        return Laid(built, steps, step)


@contextmanager
def programs_of(path: str, device: DeviceWords) -> Iterator[Programs]:
    """What lays out programs for *device* in the storage in the file *path*."""
    storage = GuestStorage(path)
    try:
        with ExitStack() as opened:
            yield Programs(storage, device, opened)
    finally:
        storage.close()
