"""Asking the server of a mount for something, over its socket `irqfd`."""

import json
import os
import socket
from typing import Any

from ..errors import UserError
from . import asking_the_mount

_ANSWER = 1 << 20
"""Bytes of the longest answer: the paths of thousands of subchannels."""
_WITHIN = 40.0
"""Seconds for an answer: the server may have to open a medium first, or write one out (30 s)."""


def ask(mnt: str, message: dict[str, str]) -> dict[str, Any]:
    """Send *message* to the server of the mount *mnt* and give its answer.

    UserError if there is no such mount, or with what the server says against it.
    """
    with asking_the_mount():
        path = os.readlink(os.path.join(mnt, "irqfd"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(_WITHIN)
        try:
            connection.connect(path)
            connection.send(json.dumps(message).encode())
            received = connection.recv(_ANSWER)
        except OSError as failed:
            reason = failed.strerror or str(failed)
            raise UserError(f"{mnt}: its server does not answer ({reason}); see ps") from None
    answer: dict[str, Any] = json.loads(received or b'{"error": "the mount is ending"}')
    if "error" in answer:
        raise UserError(answer["error"])
    return answer
