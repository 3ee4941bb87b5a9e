"""The help teaches, and costs little."""

import subprocess
import sys

import pytest

from tests.cli.commands import vfioccw
from vfioccw_fuse import __version__
from vfioccw_fuse.cli import COMMANDS

BACKGROUND = "vfioccw_fuse.cli.background"
"""What makes a daemon."""


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself_with_an_example(command):
    done = vfioccw(command, "--help")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert "Example" in text
    assert f"\n    vfioccw {command}" in text


def test_the_help_lists_every_command_and_what_it_does():
    text = vfioccw("--help").stdout.decode()
    for name, entry in COMMANDS.items():
        assert f"\n  {name} " in text
        assert entry.help in text


def test_the_version_is_that_of_the_project():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__
    assert vfioccw("--version").stdout.decode().startswith(f"vfioccw {__version__} (")


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        (["--help"], {"construct", "rich", "trio", "pyfuse3", BACKGROUND}),
        (["ls", "/"], {"rich", "trio", "pyfuse3", BACKGROUND}),
        (["umount", "/nowhere"], {"construct", "rich", "trio", "pyfuse3", BACKGROUND}),
        (["guest", "--help"], {"construct", "trio", "pyfuse3", "vfioccw_fuse.guest"}),
        (["conform", "--help"], {"construct", "trio", "pyfuse3", "vfioccw_fuse.conform"}),
        (["decode", "orb", "00"], {"trio", "pyfuse3", BACKGROUND}),
    ],
)
def test_a_command_imports_only_what_it_needs(command, unwanted):
    code = (
        "import sys\nfrom vfioccw_fuse.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, check=True, text=True
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "click" in loaded
    assert not loaded & unwanted
