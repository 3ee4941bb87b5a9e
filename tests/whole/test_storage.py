"""What devices/STORAGE.md says of images that are elsewhere, typed as it stands there."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.mounts import PROJECT
from lab.typed import sections, type_as_it_is, typed

PAGE = PROJECT / "vfioccw_fuse" / "devices" / "STORAGE.md"
SECTIONS = {heading: typed(text) for heading, text in sections(PAGE.read_text()).items()}


@pytest.mark.parametrize("name", [name for name, commands in SECTIONS.items() if commands])
def test_the_page_typed_as_it_is(name: str, tmp_path: Path) -> None:
    type_as_it_is(SECTIONS[name], tmp_path)


def test_most_of_the_page_is_typed() -> None:
    assert sum(map(bool, SECTIONS.values())) >= 7
