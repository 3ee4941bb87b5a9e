"""The media of scenarios: each runs on a copy of its own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

from ..devices.catalog import device_class
from ..devices.options import SENSE_ID, SYNC, DeviceSpec, SenseId, Sync, parse_medium
from ..errors import UserError, shortened

Json = dict[str, Any]


class Images:
    """The images that scenarios name: those of `images.json` in a directory, and files."""

    def __init__(self, directory: str, beside: str | None = None) -> None:
        """*directory* may have an `images.json`; in *beside* are the files that it does not name.

        The same directory unless said. UserError if `images.json` cannot be read or is none.
        """
        self.directory = directory
        self.beside = directory if beside is None else beside
        self._known: dict[str, Json] = {}
        index = os.path.join(directory, "images.json")
        if os.path.exists(index):
            try:
                with open(index, encoding="utf-8") as file:
                    self._known = json.load(file)
            except (OSError, ValueError, RecursionError) as error:
                raise UserError(f"{index}: {error}") from None
            known: Any = self._known
            if not isinstance(known, dict) or not all(
                isinstance(entry, dict) for entry in known.values()
            ):
                raise UserError(f"{index}: write one JSON object, an object for each image in it")

    @contextmanager
    def fresh(self, device: Json) -> Iterator[tuple[DeviceSpec, str | None]]:
        """A copy of the medium of *device* for one scenario: how to attach it, and its path.

        A device that names no image gets an empty file; the path is None where the image is that
        of a drive without a medium. UserError for a file that is not there, and for one that is not
        in its directory.
        """
        name = device.get("image")
        entry = self._known.get(name, {"file": name}) if name else {}
        words = {}
        if "control_unit" in entry:
            words["cu"] = entry["control_unit"]
        if entry.get("readonly", False):
            words["readonly"] = ""
        with tempfile.TemporaryDirectory(prefix="vfioccw-") as scratch:
            path = None
            if not ("medium" in entry and entry["medium"] is None):
                path = os.path.join(scratch, "medium")
                if "file" in entry:
                    source = self._file(str(name), entry["file"])
                    path = os.path.join(scratch, os.path.basename(source))
                    shutil.copyfile(source, path)
                else:
                    with open(path, "wb"):
                        pass
            known = device_class(device["type"]).options
            if SENSE_ID.word in known:
                words[SENSE_ID.word] = SenseId.LEGACY  # as the recorded emulator's devices
            options = known.read(words)
            options[SYNC.word] = Sync.NEVER  # it is a copy, and gone in a moment
            yield DeviceSpec(device["type"], "0.0.0000", path or "", options), path

    def _file(self, name: str, file: Any) -> str:
        """The absolute path of the *file* of the image *name*.

        UserError unless it lies in its directory: its name is relative and has no `..`, and no
        symbolic link leads out. A scenario, or an `images.json`, may come from anybody.
        """
        if name in self._known:
            folder = self.directory
            place = f"{os.path.join(folder, 'images.json')}: {shortened(name)}"
        else:
            folder, place = self.beside, "device.image"
        if not isinstance(file, str):
            raise UserError(f"{place}: file must be a string")
        parse_medium(file)
        directory = os.path.realpath(folder)
        path = os.path.realpath(os.path.join(directory, file))
        named = PurePath(file)
        inside = os.path.commonpath((directory, path)) == directory != path
        said = f"{place}: {shortened(file)}"
        if named.is_absolute() or ".." in named.parts or not inside:
            raise UserError(
                f"{said} is not in {folder}; put the file there, or name its directory by --images"
            )
        if not os.path.isfile(path):
            known = f"; images.json has {shortened(', '.join(self._known))}" if self._known else ""
            raise UserError(f"{said}: no such file in {folder}{known}")
        return path
