"""What a shell completes: in bash as it is typed, in zsh and fish by what their scripts ask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.mounts import PROJECT
from lab.terminal import Terminal
from lab.waits import SOON
from tests.cli.commands import complaint, vfioccw
from vfioccw_fuse.cli import COMMANDS
from vfioccw_fuse.cli.completion import SHELLS
from vfioccw_fuse.devices.catalog import TYPES


def offered(line: str, cwd: Path | None = None) -> list[str]:
    """What fish is offered for *line*, without the words of help."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": words[-1], "_VFIOCCW_COMPLETE": "fish_complete"}
    done = subprocess.run(
        [sys.executable, "-m", "vfioccw_fuse"],
        env={**os.environ, "PYTHONPATH": str(PROJECT), **asked},
        capture_output=True, text=True, timeout=SOON, check=True, cwd=cwd,
    )  # fmt: skip
    assert done.stderr == ""
    lines = [line.split("\t")[0] for line in done.stdout.splitlines()]
    return [line.removeprefix("plain,") for line in lines if line.startswith("plain,")]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell):
    done = vfioccw("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"_VFIOCCW_COMPLETE={shell}_complete".encode() in done.stdout


def test_another_shell_is_one_line():
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in complaint(vfioccw("completion", "tcsh"))


def test_commands_and_their_options_are_offered():
    assert offered("vfioccw ") == list(COMMANDS)
    assert offered("vfioccw um") == ["umount"]
    assert set(offered("vfioccw ssch --no-")) == {"--no-prefetch", "--no-wait", "--no-sense"}


def test_values_are_offered(mnt):
    assert str(mnt.path) in offered("vfioccw ls /")
    assert offered(f"vfioccw ls {mnt.path}") == [str(mnt.path)]
    for typed in ("", "0", "0.0.03", "03"):
        assert offered(f"vfioccw stsch {mnt.path}/{typed}") == [str(mnt.subchannel)]
    assert offered("vfioccw stsch ./mn", cwd=mnt.path.parent) == []
    assert f"{mnt.path.name}/" in offered("vfioccw stsch m", cwd=mnt.path.parent)
    assert offered(f"vfioccw chp on {mnt.path} ") == ["40", "41"]
    assert offered(f"vfioccw ssch {mnt.subchannel} --ccw define") == ["define-extent"]
    assert offered(f"vfioccw ssch {mnt.subchannel} --ccw read,sk") == ["read,skip"]
    assert offered(f"vfioccw control {mnt.subchannel} de") == ["delay="]
    assert offered(f"vfioccw control {mnt.subchannel} fault=hang+un") == ["fault=hang+unit-check"]
    assert offered("vfioccw help fau") == ["faults"]
    assert offered("vfioccw mount --interface s") == ["start-only", "scsw"]


def test_a_device_is_offered_part_by_part(tmp_path):
    (tmp_path / "vol.ckd").touch()
    (tmp_path / "images").mkdir()
    say = "vfioccw mount m --device "
    assert offered(say) == [f"{name}@0.0." for name in TYPES]
    assert offered(f"{say}339") == ["3390@0.0."]
    assert offered(f"{say}3390@0313:", cwd=tmp_path) == ["3390@0313:images/", "3390@0313:vol.ckd"]
    assert offered(f"{say}3390@0313:vol.ckd,re") == ["3390@0313:vol.ckd,readonly"]
    assert offered(f"{say}3390@0313:vol.ckd,cu=2107,pa") == ["3390@0313:vol.ckd,cu=2107,pav="]
    assert offered(f"{say}3391@0313:vol.ckd,") == []


def test_bash_completes_what_is_typed(mnt, monkeypatch):
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    with Terminal(["bash", "--norc", "--noprofile"], columns=400) as terminal:
        terminal.type("""PS1='$ '; eval "$(vfioccw completion bash)"; echo rea''dy""")
        terminal.expect("ready\n$ ")
        terminal.type(r"""bind -x '"\C-t": echo "<$READLINE_LINE>"'; echo bou''nd""")
        terminal.expect("bound\n$ ")
        for typed, completed in (
            ("vfioccw um\t", "vfioccw umount "),
            (f"vfioccw mount m --device fb\t0313:{str(mnt.image)[:-2]}\t\x7f,reado\t",
             f"vfioccw mount m --device fba@0.0.0313:{mnt.image},readonly "),
            (f"vfioccw stsch {mnt.path}/\t", f"vfioccw stsch {mnt.subchannel} "),
        ):
            terminal.press(f"{typed}\x14")
            terminal.expect(f"<{completed}>")
            terminal.press("\x15")
