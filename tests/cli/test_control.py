"""`vfioccw control`: words that are taken, and the reason when they are not; short ids."""

import json

from tests.cli.commands import complaint, run, vfioccw


def test_words_are_set_and_shown_and_a_refusal_says_why(mnt):
    done = run(mnt, "control", "delay=1ms", "csense")
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode().splitlines()
    assert {"delay=0.001s", "csense=on", "fault=none"} <= set(shown)
    done = run(mnt, "control", "delay=2ms", "fault=hagn")
    assert (done.returncode, done.stdout) == (1, b"")
    why = "fault=hagn: unknown; one of none, hang"
    assert complaint(done).startswith(f"{mnt.subchannel}: {why}")
    text = (mnt.subchannel / "control").read_text()
    assert text.startswith("\n".join(shown) + f"\n# refused: {why}")
    assert run(mnt, "control").stdout.decode() == text
    done = run(mnt, "control", "--json", "delay=0")
    assert json.loads(done.stdout) == {
        **dict(line.split("=", 1) for line in shown),
        "delay": "0s",
    }
    assert "refused" not in (mnt.subchannel / "control").read_text()
    assert b"# fault=FAULT" in run(mnt, "control", "help").stdout


def test_a_subchannel_may_be_named_shortly(mnt):
    short = mnt.path / "0313"
    for words in (["stsch"], ["control"], ["hsch"], ["tsch", "--timeout", "1"]):
        done = vfioccw(words[0], short, *words[1:])
        assert b"no subchannel" not in done.stderr, words
    assert vfioccw("stsch", f"{short}/").returncode == 0
    assert vfioccw("stsch", mnt.path / "313").returncode == 0
    done = vfioccw("stsch", mnt.path / "0314")
    assert complaint(done).startswith(f"{mnt.path}/0.0.0314: no subchannel")


def test_what_is_no_subchannel_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "0313"):
        done = vfioccw("control", path)
        assert done.returncode == 1
        assert "is it mounted?" in complaint(done)
