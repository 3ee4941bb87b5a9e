"""A Linux guest for s390x in QEMU: a kernel, an initramfs, a console to drive it.

`parts` has what a guest is made of, `apt` fetches what is Debian's, `given` looks at what the user
gives, `archive` packs it, `machine` boots and drives it, `run` runs a script or a shell in it,
`kernel` builds one from Linux's source. Needs nothing of the package but its command
`vfioccw qemu`, as any program that is not ours could have it.
"""

from __future__ import annotations

from ..errors import UserError


class GuestError(UserError):
    """What was wanted of a guest did not work; one line for people."""
