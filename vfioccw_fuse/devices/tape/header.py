"""The six bytes before each segment of a tape in the AWS format, and what HET adds to them.

The format is that of P/390 and Hercules (`hetlib.h`).
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = struct.Struct("<HHBB")
"""Length of this segment, length of the previous one, two bytes of flags."""
FLAG_START: Final = 0x80
"""The first segment of a block."""
FLAG_MARK: Final = 0x40
"""A tape mark; its length is zero."""
FLAG_END: Final = 0x20
"""The last segment of a block."""
FLAGS_KNOWN: Final = FLAG_START | FLAG_MARK | FLAG_END
FLAGS_HET: Final = 0x03
"""The block is compressed, which only HET has: 1 zlib, 2 bzip2."""
FLAGS2_HET: Final = 0x80
"""The second byte, if the block is compressed by zlib as Bus-Tech does it. Nothing else uses it."""
