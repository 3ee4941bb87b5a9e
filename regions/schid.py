"""Subchannel ids, cssid.ssid.schno in hex: the names of the directories of a mount.

This needs nothing but Python: the command line asks it wherever a subchannel is named.
"""

import re

_SCHID = re.compile(r"[0-9a-f]{1,2}\.[0-3]\.[0-9a-f]{4}")
_SCHNO = re.compile(r"[0-9a-f]{1,4}")


def is_schid(name: str) -> bool:
    """Whether *name* is a subchannel id: the name of its directory."""
    return _SCHID.fullmatch(name) is not None


def whole_schid(text: str) -> str:
    """The subchannel id that *text* writes, in lower case; 0313 is 0.0.0313, as for lscss.

    Other text stays as it is.
    """
    name = text.lower()
    if _SCHNO.fullmatch(name):
        return f"0.0.{name:0>4}"
    return name if is_schid(name) else text
