"""Channel measurement: what the channel-measurement block of a subchannel counts (PoP 17, cmf.c).

Times are in nanoseconds here; who shows them in units of 128 us divides.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Measurement:
    """Counts and times of one subchannel since it was made."""

    ssch_rsch_count: int = 0
    """START and RESUME SUBCHANNEL that were accepted."""
    sample_count: int = 0
    """Start functions that ended."""
    device_connect_ns: int = 0
    """Time in which the channel executed commands."""
    function_pending_ns: int = 0
    """Time from SSCH to the first command."""
    device_disconnect_ns: int = 0
    """Time in which the device had a command and moved no data."""
    control_unit_queuing_ns: int = 0
    """Time in which the control unit queued: none does."""
    device_active_only_ns: int = 0
    """Time from channel end to device end."""
    device_busy_ns: int = 0
    """Time in which another system kept the first command off: `shared` devices alone."""
    initial_command_response_ns: int = 0
    """Time in which the device answered the first command."""
