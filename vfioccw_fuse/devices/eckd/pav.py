"""Parallel access volumes: the logical control unit that bases and aliases are in (HyperPAV).

A base is a 3390 behind a 2107 with `pav=base`, an alias a subchannel without a volume of its own,
which takes a base for each program, by what its Prefix says. Linux puts together what has the same
serial number and subsystem id (`dasd_alias.c`), so that is what a logical control unit is here:
each of its aliases serves each of its bases. Of itself a unit tells by Read Configuration Data, of
all by Prepare for Read Subsystem Data.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ...errors import UserError
from ..base import ATTENTION, DE, UE
from ..options import Option, Owner, parse_schid

if TYPE_CHECKING:
    from .alias import Alias
    from .subsystem import Subsystem

BASE: Final = 0x01
ALIAS: Final = 0x03
"""Types of units (`UA_BASE_DEVICE`, `UA_HYPER_PAV_ALIAS` of Linux's `dasd_int.h`)."""
STATE_CHANGE: Final = ATTENTION | DE | UE
"""Unsolicited status: what the device is may have changed; Linux looks at an alias anew then."""
_UNITS: Final = 256
_QUALIFIER: Final = struct.Struct(">BBH4xBB22x")  # `struct dasd_sneq`
_QUALIFIER_AT: Final = 192
_QUALIFIER_END: Final = _QUALIFIER_AT + _QUALIFIER.size
_SPECIFIC: Final = 0x40
_FORMAT: Final = 1


def _parse_pav(text: str) -> bool:
    if text not in ("base", "no"):
        raise UserError("base or no")
    return text == "base"


PAV: Final = Option(
    word="pav",
    owner=Owner.DEVICE,
    metavar="base|no",
    help="aliases may serve it (HyperPAV); needs cu=2107; no unless said",
    parse=_parse_pav,
)
ALIAS_OF: Final = Option(
    word="alias-of",
    owner=Owner.DEVICE,
    metavar="SUBCHANNEL",
    help="an alias of this base, which has pav=base, in the same mount; its image is written -",
    parse=parse_schid,
)


class LogicalControlUnit:
    """Bases and aliases with the same serial number and subsystem id, each by its unit address."""

    def __init__(self, subsystem: int) -> None:
        """*subsystem*: number of the logical subsystem, the first 8 bits of its device numbers."""
        self.subsystem = subsystem
        """Number of the logical subsystem."""
        self.bases: dict[int, Subsystem] = {}
        """The volumes."""
        self.aliases: dict[int, Alias] = {}
        """Who serves them."""

    def enter_base(self, base: Subsystem) -> None:
        """*base* comes, and the others are told; UserError if its unit address is taken."""
        address = self._free_address(base)
        self._enter(base, BASE, address)
        self.bases[address] = base

    def enter_alias(self, alias: Alias) -> None:
        """*alias* comes, and the others are told; UserError if its unit address is taken."""
        address = self._free_address(alias)
        self._enter(alias, ALIAS, 0)  # as long as it has no program it has no base
        self.aliases[address] = alias

    def _free_address(self, unit: Subsystem) -> int:
        address = unit.device & 0xFF
        if address in self.bases or address in self.aliases:
            raise UserError(
                f"unit address {address:02x} is taken in its control unit; "
                "take a subchannel whose last two digits are others"
            )
        return address

    def _enter(self, unit: Subsystem, kind: int, base: int) -> None:
        """The others are told, and the configuration data of *unit* says what it is."""
        self._tell()
        data = unit.configuration
        qualifier = _QUALIFIER.pack(_SPECIFIC, 0, _FORMAT, kind, base)
        unit.configuration = data[:_QUALIFIER_AT] + qualifier + data[_QUALIFIER_END:]
        unit.lcu = self

    def leave(self, unit: Subsystem) -> None:
        """*unit* goes, and the others are told; nothing if it never came."""
        address = unit.device & 0xFF
        if self.bases.get(address) is unit:
            del self.bases[address]
        elif self.aliases.get(address) is unit:
            del self.aliases[address]
        else:
            return
        self._tell()

    def _tell(self) -> None:
        """Who serves a host, which has made a path group, presents a state change."""
        for unit in (*self.bases.values(), *self.aliases.values()):
            if unit.has_host:
                unit.attention(STATE_CHANGE)

    def base(self, address: int, subsystem: int) -> Subsystem | None:
        """The base with this unit address in *subsystem*; None if there is none."""
        return self.bases.get(address) if subsystem == self.subsystem else None

    def unit_addresses(self) -> bytes:
        """The unit address configuration, 512 bytes: type and base of each unit address.

        What is no alias is a base: a volume of another mount may have the same serial number, and
        must not be taken for an alias.
        """
        return b"".join(
            bytes([ALIAS, 0] if address in self.aliases else [BASE, address])
            for address in range(_UNITS)
        )
