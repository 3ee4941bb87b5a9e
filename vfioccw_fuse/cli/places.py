"""Mounts and subchannels as arguments: MNT, and MNT/0.0.0313, for which MNT/0313 will do.

This is imported by nearly every command: it asks the mount table and lists a directory, and imports
nothing that takes time.
"""

import os
from collections.abc import Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..mountinfo import mounted, whole_path
from ..regions.schid import is_schid

FSTYPE = "fuse.vfioccw"
"""The type of a mount in the kernel's table."""


class MountPath(click.Path):
    """The directory of a mount."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the mounts, else directories."""
        found = [CompletionItem(point) for point in _mounts(incomplete)]
        return found or [CompletionItem(incomplete, type="dir")]


class SubchannelPath(click.Path):
    """The directory of a subchannel; the value is its path with the whole id."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Give the path, with the whole id where a short one was written."""
        return whole_path(os.fsdecode(super().convert(value, param, ctx)))

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the subchannels of the mount that is named, else the mounts, else directories."""
        return subchannels(incomplete) or [CompletionItem(incomplete, type="dir")]


MOUNT = MountPath()
"""The type of an argument that names a mount."""
SUBCHANNEL = SubchannelPath()
"""The type of an argument that names a subchannel."""


def subchannels(incomplete: str) -> list[CompletionItem]:
    """What a path that begins with *incomplete* can be: subchannels of a mount, or mounts."""
    folder, name = os.path.split(incomplete)
    names = sorted(filter(is_schid, _listed(folder))) if folder else []
    begun = [schid for schid in names if schid.startswith(name)]
    # 03 is the beginning of 0313, which is short for 0.0.0313.
    begun = begun or [schid for schid in names if schid.startswith(f"0.0.{name}")]
    if begun:
        return [CompletionItem(os.path.join(folder, schid)) for schid in begun]
    return [CompletionItem(f"{point}/") for point in _mounts(incomplete)]


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _mounts(incomplete: str) -> Iterator[str]:
    """The mounts whose paths, as *incomplete* is written, begin with it."""
    here = os.getcwd()
    for mount in mounted():
        if mount.fstype != FSTYPE:
            continue
        if mount.point.startswith(incomplete) and incomplete.startswith("/"):
            yield mount.point
        elif not incomplete.startswith("/"):
            relative = os.path.relpath(mount.point, here)
            point = mount.point if relative.startswith("..") else relative
            if point.startswith(incomplete):
                yield point
