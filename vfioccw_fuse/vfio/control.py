"""The options of a subchannel, and the file `control` that switches what can be switched.

A device's options are those of its type, of its behaviour and of its subchannel together: here they
are joined. What is found wrong is found before anything has changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ..css.paths import PathState
from ..devices.catalog import device_class
from ..devices.faults import BEHAVIOUR, FAULT, QUALIFIERS, need_fit
from ..devices.options import (
    DeviceSpec,
    DeviceText,
    Option,
    Options,
    Owner,
    Switch,
    Switches,
    parse_flag,
    parse_medium,
)
from ..errors import UserError
from ..regions import constants as c
from ..regions.control import REFUSED
from ..regions.table import Interface
from ..sizes import parse_address
from . import loading
from .device import CcwDevice

T = TypeVar("T")

DEFAULT_CHPIDS: Final = bytes([0x40, 0x41])
"""Channel paths of a device that names none."""
PATH_STATES: Final = {
    "on": PathState.ONLINE,
    "vary-off": PathState.VARIED_OFF,
    "off": PathState.OFFLINE,
    "fail": PathState.FAILED,
}
"""What a path can be told to be: word and state."""
_LIMIT = 1 << 31
_UNIT_STATUS = re.compile(r"(0x)?[0-9a-fA-F]{1,2}")
_CHPID = re.compile(r"[0-9a-fA-F]{1,2}")
_LOAD = re.compile(r"(?P<before>(?:[^#]*[\s,])?)load=(?P<file>.*)")


def _parse_interface(text: str) -> Interface:
    try:
        return Interface(text)
    except ValueError:
        raise UserError(f"not one of {', '.join(Interface)}") from None


def parse_chpid(text: str) -> int:
    """The channel path that one or two hexadecimal digits name; UserError for other text."""
    if not _CHPID.fullmatch(text):
        raise UserError("not a chpid; two hexadecimal digits such as 40")
    return int(text, 16)


def _parse_chpids(text: str) -> bytes:
    try:
        chpids = bytes(map(parse_chpid, text.split("+")))
    except UserError:
        chpids = b""
    if not 1 <= len(chpids) <= 8 or len(set(chpids)) != len(chpids):
        raise UserError("one to eight different ids in hex, 00 to ff, such as chpids=40+41")
    return chpids


def _parse_order(text: str) -> str:
    if text not in ("big", "host"):
        raise UserError("big or host")
    return text


def _parse_on_off(text: str) -> bool:
    if text not in ("on", "off"):
        raise UserError("on or off")
    return text == "on"


def _parse_limit(text: str) -> int:
    try:
        address = parse_address(text)
    except UserError:
        address = -1
    if not 0 <= address < _LIMIT:
        raise UserError("an absolute address below 2 GiB, such as 0x100000")
    return address


def _parse_unit_status(text: str) -> int:
    if not _UNIT_STATUS.fullmatch(text):
        raise UserError("a unit status in hex, such as 80")
    return int(text, 16)


def _parse_request(text: str) -> str:
    if text != "unplug":
        raise UserError("only unplug can be requested")
    return text


def _parse_path_state(text: str) -> PathState:
    if text not in PATH_STATES:
        raise UserError(f"a path goes {', '.join(PATH_STATES)}")
    return PATH_STATES[text]


def _put_csense(device: CcwDevice, on: bool) -> None:
    mask, pmcw = c.PMCW_CHARS_MASK_CSENSE, device.sch.pmcw
    pmcw.chars = pmcw.chars & ~mask | (mask if on else 0)


def _put_order(device: CcwDevice, order: str) -> None:
    device.driver.io.order = order


def _put_limit(device: CcwDevice, address: int) -> None:
    device.sch.address_limit = address


INTERFACE: Final = Option(
    word="interface",
    owner=Owner.SUBCHANNEL,
    metavar="NAME",
    help=f"generation of the vfio-ccw interface: {', '.join(Interface)}",
    parse=_parse_interface,
)
CHPIDS: Final = Option(
    word="chpids",
    owner=Owner.SUBCHANNEL,
    metavar="ID+ID...",
    help="channel paths, one to eight ids in hex; 40+41 unless said",
    parse=_parse_chpids,
)
SWITCHES: Final = Switches(
    Switch(
        word="csense",
        owner=Owner.SUBCHANNEL,
        metavar="on|off",
        help="sense data comes with the IRB (concurrent sense); off unless said",
        parse=_parse_on_off,
        alone="on",
        put=_put_csense,
        show=lambda device: "on" if device.sch.pmcw.concurrent_sense else "off",
    ),
    Switch(
        word="order",
        owner=Owner.SUBCHANNEL,
        metavar="big|host",
        help="byte order in which the client keeps ORB and SCSW; big unless said",
        parse=_parse_order,
        put=_put_order,
        show=lambda device: device.driver.io.order,
    ),
    Switch(
        word="address-limit",
        owner=Owner.SUBCHANNEL,
        metavar="ADDRESS",
        help="the limit that ORBs with address-limit checking mean; 0x0 unless said",
        parse=_parse_limit,
        put=_put_limit,
        show=lambda device: f"{device.sch.address_limit:#x}",
    ),
)
"""The subchannel's options that can be switched."""
SUBCHANNEL: Final = Options(INTERFACE, CHPIDS, *SWITCHES.values())
"""The subchannel's options."""
PATH_STATE: Final = Option(
    word="state",
    owner=Owner.PATH,
    metavar="|".join(PATH_STATES),
    help="how the path is at first; on unless said",
    parse=_parse_path_state,
)
"""A channel path's option, in the table of the path."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Once(Option[T]):
    """A word of `control` that makes something happen, once."""

    do: Callable[[CcwDevice, T], None]
    """Makes it happen."""
    hindrance: Callable[[CcwDevice], str] = lambda device: ""
    """Why it cannot happen on this device; empty if it can."""


def _parse_file(text: str) -> str:
    if not os.path.isabs(text):
        raise UserError("an absolute path, such as /tapes/next.aws; the server is in /")
    return parse_medium(text)


def _load(device: CcwDevice, path: str) -> None:
    raise loading.Loading(device, path)


def _no_req_irq(device: CcwDevice) -> str:
    has = c.VFIO_CCW_REQ_IRQ_INDEX in device.irqs
    return "" if has else f"interface {device.interface} has no req_irq"


EVENTS: Final[Options[Once[Any]]] = Options(
    Once(
        word="unsolicited",
        owner=Owner.SUBCHANNEL,
        metavar="HEX",
        help="the device presents this unit status by itself; 80 is attention",
        parse=_parse_unit_status,
        do=lambda device, status: device.sch.unsolicited(status),
    ),
    Once(
        word="request",
        owner=Owner.SUBCHANNEL,
        metavar="unplug",
        help="the client is asked by req_irq to let the device go",
        parse=_parse_request,
        do=lambda device, request: device.irqs[c.VFIO_CCW_REQ_IRQ_INDEX].signal(),
        hindrance=_no_req_irq,
    ),
    Once(
        word="unload",
        owner=Owner.SUBCHANNEL,
        help="the operator takes the medium out: tape, cards, paper",
        parse=parse_flag,
        do=lambda device, _: loading.unload(device),
        hindrance=loading.nothing_loaded,
    ),
    Once(
        word="load",
        owner=Owner.SUBCHANNEL,
        metavar="FILE",
        help="the operator puts this medium in, in place of another; written without other words",
        parse=_parse_file,
        do=_load,
        hindrance=loading.hindrance,
    ),
)
"""What `control` makes happen."""
HELP: Final = Option(
    word="help",
    owner=Owner.SUBCHANNEL,
    help="the next read lists these words too, in a comment line each",
    parse=parse_flag,
)
CONTROL: Final = BEHAVIOUR | SWITCHES | EVENTS | Options(HELP)
"""All that can be written into `control`."""


class Control:
    """The file `control` of one subchannel.

    Reading it gives `word=value` lines, which can be written back; a comment behind them says why
    the last write was refused, if it was. Written are options apart by blanks, commas or lines;
    what follows a `#` in a line is a comment.
    """

    def __init__(self, device: CcwDevice) -> None:
        self._device = device
        self._asked = False

    def text(self) -> str:
        """What a read shows; the list of words is behind it if `help` was written before."""
        device = self._device
        values = BEHAVIOUR.show(device.sch.behaviour) | SWITCHES.show(device)
        lines = [f"{word}={value}" for word, value in values.items()]
        if device.refused:
            lines.append(f"{REFUSED}{device.refused}")
        if self._asked:
            self._asked = False
            lines += _help()
        return "".join(f"{line}\n" for line in lines)

    def write(self, text: str) -> None:
        """Do what *text* says; UserError names what is wrong with it, and nothing has changed.

        `Loading` if a medium is to be put in, which may take its time.
        """
        self._device.refused = ""
        try:
            self._do(text)
        except UserError as wrong:
            self._device.refused = wrong.message
            raise

    def _do(self, text: str) -> None:
        device = self._device
        words: dict[str, str] = {}
        for line in text.splitlines():
            loads = _LOAD.match(line)
            if loads:  # a name may have blanks
                line, words["load"] = loads["before"], loads["file"].strip()
            for option in line.partition("#")[0].replace(",", " ").split():
                word, _, value = option.partition("=")
                words[word] = value
        values = CONTROL.read(words)
        if "load" in values and len(values) > 1:
            raise UserError("load: write it without other words; it may fail when they are done")
        need_fit(values.get(FAULT.word, ()), device.sch.device)
        events = [event for word, event in EVENTS.items() if word in values]
        for event in events:
            hindrance = event.hindrance(device)
            if hindrance:
                said = f"{event.word}={words[event.word]}" if words[event.word] else event.word
                raise UserError(f"{said}: {hindrance}")
        BEHAVIOUR.put(device.sch.behaviour, values)
        SWITCHES.put(device, values)
        for event in events:
            event.do(device, values[event.word])
        self._asked |= HELP.word in values


def _help() -> Iterator[str]:
    width = max(len(option.usage) for option in CONTROL.values())
    for option in CONTROL.values():
        yield f"# {option.usage:{width}}  {option.help}"
        if option is FAULT:
            for when in QUALIFIERS.values():
                yield f"#   :{when.usage:{width - 3}}  {when.help}"


def options_of(type_name: str) -> Options[Option[Any]]:
    """All options of a device of that type; UserError if there is no such type."""
    return device_class(type_name).options | BEHAVIOUR | SUBCHANNEL


def parse_device(text: str) -> DeviceSpec:
    """Read `type@c.s.dddd:path[,option[=value]]...`; UserError names the device and the error."""
    said = DeviceText.parse(text)
    try:
        options = options_of(said.type).read(said.words)
    except UserError as wrong:
        raise UserError(f"{said.type}@{said.schid}: {wrong.message}") from None
    return DeviceSpec(said.type, said.schid, said.path, options)
