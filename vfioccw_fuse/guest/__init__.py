"""A Linux guest for s390x in QEMU: Debian's kernel and tools, an initramfs, a console to drive it.

`parts` fetches what a guest is made of, `archive` packs it, `machine` boots and drives it. Needs
nothing of the project but its command `vfioccw`; tests, benchmarks and `scripts/qemu-guest` use it.
"""


class GuestError(Exception):
    """What was wanted of a guest did not work; one line for people."""
