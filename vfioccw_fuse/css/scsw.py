"""The subchannel-status word as the hardware has it: scsw(h), and the bits of its control halfword.

Rules: PoP 16 (subchannel-status word); the fields are those of Linux's struct cmd_scsw, the three
fields of the control halfword together in `ctrl`.
"""

from __future__ import annotations

from typing import Final

from ..regions import codec
from ..regions import constants as c
from ..regions.layouts import Scsw

START: Final = c.SCSW_FCTL_START_FUNC
HALT: Final = c.SCSW_FCTL_HALT_FUNC
CLEAR: Final = c.SCSW_FCTL_CLEAR_FUNC
FCTL: Final = c.SCSW_CTRL_MASK_FCTL
RESUME_PEND: Final = c.SCSW_ACTL_RESUME_PEND
START_PEND: Final = c.SCSW_ACTL_START_PEND
HALT_PEND: Final = c.SCSW_ACTL_HALT_PEND
CLEAR_PEND: Final = c.SCSW_ACTL_CLEAR_PEND
DEVICE_ACTIVE: Final = c.SCSW_ACTL_DEVICE_ACTIVE
ACTIVE: Final = c.SCSW_ACTL_SUBCH_ACTIVE | DEVICE_ACTIVE
SUSPENDED: Final = c.SCSW_ACTL_SUSP
ACTL: Final = c.SCSW_CTRL_MASK_ACTL
ALERT: Final = c.SCSW_STCTL_ALERT
INTERMEDIATE: Final = c.SCSW_STCTL_INTERMEDIATE
PRIMARY: Final = c.SCSW_STCTL_PRIMARY
SECONDARY: Final = c.SCSW_STCTL_SECONDARY
STATUS_PEND: Final = c.SCSW_STCTL_STATUS_PEND
STCTL: Final = c.SCSW_CTRL_MASK_STCTL
INTERMEDIATE_ONLY: Final = INTERMEDIATE | STATUS_PEND
UNSOLICITED: Final = ALERT | STATUS_PEND
"""Status control of what no function brought (scsw_is_solicited of Linux)."""
IN_USE: Final = FCTL | STATUS_PEND
"""What makes SSCH and MSCH fail: a function in progress, or status that nobody has taken."""

NO_SCSW: Final = Scsw()
_pack = codec.SCSW.struct.pack


class SubchannelStatusWord:
    """The SCSW of one subchannel, field by field; whoever changes the subchannel changes it."""

    __slots__ = ("count", "cpa", "cstat", "ctrl", "dstat", "flags")

    def __init__(self) -> None:
        self.flags = 0
        """16 bits: key, deferred condition code and what the ORB said, `SCSW_FLAGS_MASK_*`."""
        self.ctrl = 0
        """16 bits: function, activity and status control (fctl, actl, stctl)."""
        self.cpa = 0
        """CCW address."""
        self.dstat = 0
        """Device status, `SCSW_DSTAT_*`."""
        self.cstat = 0
        """Subchannel status, `SCSW_CSTAT_*`."""
        self.count = 0
        """Residual count in bytes."""

    @property
    def status_pending(self) -> bool:
        """A status waits for TSCH."""
        return self.ctrl & STATUS_PEND != 0

    def pack(self) -> bytes:
        """The 12 bytes, big endian."""
        return _pack(self.flags, self.ctrl, self.cpa, self.dstat, self.cstat, self.count)
