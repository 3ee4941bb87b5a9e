"""Keep libfuse from reading requests by splice(2).

libfuse reads every request through a pipe if it can make the pipe larger than a request may be
(1 MiB and a header), in the hope of large writes that it need not copy. Ours are small: the second
system call adds 3.5 us to a pread's 9. There is no option against it, but libfuse gives up for
good when fcntl(F_SETPIPE_SZ) fails once, and above /proc/sys/fs/pipe-max-size, 1 MiB by default, it
fails for everyone without CAP_SYS_RESOURCE. So this concerns root alone, and for root it takes that
capability away for the moment in which libfuse tries.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

CAP_SYS_RESOURCE: Final = 24
"""Bit number of the capability that lets pipes grow beyond the limit (linux/capability.h)."""

_VERSION_3: Final = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words of 32 capabilities
_HEADER: Final = struct.Struct("Ii")  # version, thread; 0 is the calling one
_DATA: Final = struct.Struct("6I")  # effective, permitted, inheritable; the same of the high word


def switch_capability(number: int, on: bool) -> bool:
    """Take the capability out of this thread's effective set, or put it back from the permitted.

    True if that changed anything; False if it was so before, or could not be done.
    """
    libc = ctypes.CDLL(None)
    header = ctypes.create_string_buffer(_HEADER.pack(_VERSION_3, 0))
    data = ctypes.create_string_buffer(_DATA.size)
    if libc.capget(header, data):
        return False
    words = list(_DATA.unpack(data.raw))
    index, bit = 3 * (number // 32), 1 << number % 32
    if bool(words[index] & bit) is on:
        return False
    words[index] ^= bit
    data.raw = _DATA.pack(*words)
    return not libc.capset(header, data)
