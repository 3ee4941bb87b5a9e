"""The manual: pages that read well on a code-hosting site, and the one list of them.

`vfioccw help TOPIC` shows a page. A page lies beside the code that it is about; what is about the
product as a whole lies here. Nothing of the product is imported: it knows titles and files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

PACKAGE: Final = Path(__file__).parents[1]
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")


class Topic(NamedTuple):
    """A page."""

    title: str
    """What it is about, in some words."""
    file: str
    """Its path below the package."""

    @property
    def path(self) -> Path:
        """Where it is."""
        return PACKAGE / self.file

    @property
    def in_repository(self) -> str:
        """Its path below the repository, where the package has but a link to `regions`."""
        return self.file if self.file.startswith("regions/") else f"{PACKAGE.name}/{self.file}"


TOPICS: Final[dict[str, Topic]] = {
    "mount": Topic("what is in a mount, interfaces, a file of devices, the log", "docs/mount.md"),
    "devices": Topic("types and every option; tapes changed; aliases", "docs/devices.md"),
    "media": Topic("images made, checked, locked, shared, safe", "docs/media.md"),
    "storage": Topic("images on NBD, S3, Ceph; qcow2; encrypted", "devices/STORAGE.md"),
    "blocks": Topic("blocks, tracks and records read and written", "docs/blocks.md"),
    "faults": Topic("what can go wrong, and when it does", "docs/faults.md"),
    "clients": Topic("with nothing but dd; in Python; in C", "docs/clients.md"),
    "regions": Topic("every region, field, value and errno", "regions/README.md"),
    "trace": Topic("what a subchannel does, line by line and as a picture", "docs/trace.md"),
    "json": Topic("the keys of what --json prints", "cli/JSON.md"),
    "debug": Topic("channel programs CCW by CCW; without a mount", "docs/debug.md"),
    "guest": Topic("a Linux guest on your disks; your own QEMU", "docs/guest.md"),
    "kernel": Topic("testing Linux's own vfio_ccw, cio and dasd", "docs/kernel.md"),
    "linux": Topic("how vfio-ccw changed from Linux to Linux", "conform/LINUX.md"),
    "mainframe": Topic("asking the vfio_ccw of a mainframe", "conform/MAINFRAME.md"),
    "pytest": Topic("fixtures for tests of yours", "docs/pytest.md"),
    "ci": Topic("your kernel or your VMM in continuous integration", "docs/ci.md"),
    "service": Topic("a mount that is always there: systemd, fstab", "docs/service.md"),
    "unit": Topic("the unit for systemd, as it is to be installed", "docs/vfioccw@.service"),
    "thread": Topic("what the mailing-list thread asked for", "docs/thread.md"),
    "writing": Topic("how a device is written", "devices/README.md"),
    "house": Topic("the rooms of the code, and walks through it", "README.md"),
}
"""Every topic of `vfioccw help`, in the order in which it lists them."""
_BY_PLACE: Final = {topic.in_repository: name for name, topic in TOPICS.items()}


def page(name: str) -> str:
    """The text of the topic *name*, its links in words that are of use in a terminal.

    What leads to another topic names it; a picture and what leads elsewhere is its words alone, but
    an address on the web stays. KeyError if there is no such topic.
    """
    topic = TOPICS[name]
    text = topic.path.read_text(encoding="utf-8")

    def in_words(link: re.Match[str]) -> str:
        words, target = link.groups()
        if ":" in target:
            return f"{words} <{target}>"
        file = os.path.join(os.path.dirname(topic.in_repository), target.partition("#")[0])
        other = _BY_PLACE.get(os.path.normpath(file))
        return f"{words} (vfioccw help {other})" if other not in (None, name) else words

    return _LINK.sub(in_words, text) if topic.path.suffix == ".md" else text
