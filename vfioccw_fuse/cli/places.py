"""Mounts and subchannels as arguments: MNT, and MNT/0.0.0313, for which MNT/0313 will do.

This is imported wherever a subchannel is named, and so by nearly every command: it asks the mount
table and lists a directory, and imports nothing that takes time.
"""

import os
from typing import Any

import click

from ..mountinfo import whole_path


class SubchannelPath(click.Path):
    """The directory of a subchannel; the value is its path with the whole id."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Give the path, with the whole id where a short one was written."""
        return whole_path(os.fsdecode(super().convert(value, param, ctx)))


SUBCHANNEL = SubchannelPath()
"""The type of an argument that names a subchannel."""
