"""The documents: what they link to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    {
        PROJECT / "README.md",
        *(PROJECT / ".github").glob("*.md"),
        *(
            path
            for name in ("regions", "vfioccw_fuse", "tests", "scripts")
            for path in (PROJECT / name).rglob("*.md")
        ),
    }
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
"""The target of a link or picture in Markdown."""


def links_of(text: str) -> list[str]:
    """The files that *text* links to: neither addresses elsewhere nor places in the same text."""
    targets = (target.split("#")[0] for target in LINK.findall(text))
    return [target for target in targets if target and ":" not in target]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_what_a_document_links_to_is_there(path: Path) -> None:
    missing = [link for link in links_of(path.read_text()) if not (path.parent / link).exists()]
    assert not missing


def test_links_to_files_are_told_from_addresses_and_places() -> None:
    text = "[a](../b.md#c), ![d](e.svg), [f](https://example.com/), [g](#h)"
    assert links_of(text) == ["../b.md", "e.svg"]
