"""What this system's apt reads, which tests of a guest's parts change."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sources of this system, for apt; empty at first."""
    (tmp_path / "parts").mkdir()
    sources = tmp_path / "sources.list"
    sources.touch()
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "{tmp_path / "parts"}";\n'
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return sources
