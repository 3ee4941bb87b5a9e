"""README and pages, typed as they stand there; every command in them is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.mounts import PROJECT
from lab.typed import blocks, files, sections, type_as_it_is, typed

HERE = PROJECT / "vfioccw_fuse" / "docs"
PAGES = {path.stem: path for path in [PROJECT / "README.md", *sorted(HERE.glob("*.md"))]}
ELSEWHERE = {
    ("README", "Install"): "tests/test_packaging.py",
    ("ci", ""): "tests/documents/test_ci_page.py",
    ("clients", "In C"): "tests/client/test_c.py",
    ("debug", "At a terminal"): "tests/cli/test_debug.py",
    ("debug", "By a script"): "tests/cli/test_debug.py",
    ("debug", "Under a Linux guest"): "tests/qemu/test_debugged.py",
    ("devices", "In a Linux guest"): "tests/qemu/test_aliases.py",
    ("guest", ""): "tests/qemu/test_guest_command.py",
    ("kernel", ""): "tests/qemu/test_guest_command.py",
    ("kernel", "A mount compared with Linux's own driver"): "tests/qemu/test_guest_command.py",
    ("trace", "At a terminal"): "tests/cli/test_trace.py",
    ("service", ""): "tests/documents/test_service.py",
    ("service", "systemd"): "tests/documents/test_service.py",
    ("service", "fstab, and mount(8)"): "tests/documents/test_service.py",
}
"""Sections whose commands need a terminal, a guest or root, and the tests that type or do them."""
COMMAND = re.compile(
    r"(scripts/|\./)?(vfioccw|cd|dd|gcc|echo|printf|(u)?mount(\.vfioccw)?|pip|python3?|apt-get|systemctl|ln|for"
    r"|online|setup|demo|test|bench|interfaces|thread-table)\b"
)
"""What a line begins with that is to be typed."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_typed_as_it_is(name: str, tmp_path: Path) -> None:
    text = PAGES[name].read_text()
    for file, content in files(text).items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(content)
    for folder in ("tests", "scripts"):
        (tmp_path / folder).symlink_to(PROJECT / folder)
    commands = [one for heading, part in sections(text).items()
                if (name, heading) not in ELSEWHERE or heading.startswith("fstab")
                for one in typed(part)]  # fmt: skip
    type_as_it_is(commands, tmp_path)


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_has_to_be_typed_is_typed(name: str) -> None:
    for heading, part in sections(PAGES[name].read_text()).items():
        others = [block for block in blocks(part) if block[0][:2] not in ("$ ", "# ")]
        if any(COMMAND.match(line) for block in others for line in block):
            assert (PROJECT / ELSEWHERE[name, heading]).exists(), heading


def test_the_readme_is_read_in_a_minute() -> None:
    assert len(PAGES["README"].read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_half_sentence_and_no_hole(name: str) -> None:
    text = re.sub(r"(?ms)^```.*?^```$", "|", PAGES[name].read_text())
    assert "\n\n\n" not in text
    for paragraph in re.split(r"\n\n+", text):
        if not paragraph.startswith(("#", "|", "    ", "  ", "-", "!")):
            assert paragraph.rstrip().endswith((".", ":", ")")), paragraph
