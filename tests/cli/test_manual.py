"""`vfioccw help`: the manual, at a terminal and in a pipe; what is not there is near something."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from lab.mounts import PROJECT, command
from lab.terminal import Terminal
from tests.cli.commands import complaint, vfioccw
from vfioccw_fuse.docs import TOPICS, page


def test_without_a_topic_it_lists_all() -> None:
    lines = vfioccw("help").stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == list(TOPICS)
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_is_a_page_with_a_title_whose_links_are_topics(name: str) -> None:
    text = page(name)
    assert text.startswith("# ")
    assert not re.search(r"\]\([^)]*\.md", text)
    assert set(re.findall(r"vfioccw help (\w+)", text)) <= set(TOPICS)


def test_every_page_beside_the_code_is_a_topic() -> None:
    package = PROJECT / "vfioccw_fuse"
    pages = {path.resolve() for path in package.rglob("*.md") if "compiled" not in path.parts}
    assert pages <= {topic.path.resolve() for topic in TOPICS.values()}


def test_into_a_pipe_a_page_goes_as_it_is() -> None:
    done = vfioccw("help", "faults")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == page("faults")


def test_at_a_terminal_it_is_set_and_has_no_marks() -> None:
    with Terminal(["env", "PAGER=cat", *command("help", "trace")], lines=200) as terminal:
        terminal.expect("Following what a subchannel does")
        said = terminal.expect("on a time axis")
        assert "## " not in said
        assert terminal.ended() == 0


def test_a_page_that_is_longer_than_the_screen_comes_by_the_pager() -> None:
    pager = "sh -c 'echo the pager begins; cat >/dev/null; echo the pager ends'"
    with Terminal(["env", f"PAGER={pager}", *command("help", "regions")], lines=24) as terminal:
        terminal.expect("the pager ends")
        assert terminal.ended() == 0


@pytest.mark.parametrize("words", [("chp",), ("guest",), ("image",), ("image", "create")])
def test_the_help_of_a_group_has_whole_sentences(words: tuple[str, ...]) -> None:
    listed = vfioccw(*words, "--help").stdout.decode().partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_less_is_told_that_there_is_color_and_another_pager_gets_none(tmp_path: Path) -> None:
    for name in ("less", "plain"):
        pager = tmp_path / name
        pager.write_text('#!/bin/sh\necho options $LESS.\ngrep -c "$(printf "\\033")"\n')
        pager.chmod(0o755)
    words = ["env", "-u", "LESS", "-u", "PAGER", f"PATH={tmp_path}:{os.environ['PATH']}"]
    page = command("help", "regions")
    with Terminal([*words, *page], lines=24) as terminal:
        terminal.expect("options -R.")
        assert terminal.ended() == 0
    with Terminal([*words, "PAGER=plain", *page], lines=24) as terminal:
        terminal.expect("options .")
        terminal.expect("0")
        assert terminal.ended() == 0


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("help", "fault"), "fault: no such topic. Did you mean 'faults'? vfioccw help lists them"),
        (("help", "zzz"), "zzz: no such topic. vfioccw help lists them"),
        (("moun",), "No such command 'moun'. Did you mean 'mount'? See vfioccw --help"),
        (("zzzzz",), "No such command 'zzzzz'"),
        (("image", "creat"), "'create'"),
        (("mount", "--devic", "x"), "'--device'"),
    ],
)
def test_what_is_not_there_is_one_line_with_what_is_near(words: tuple[str, ...], near: str) -> None:
    done = vfioccw(*words)
    assert done.returncode == 2
    assert near in complaint(done)


@pytest.mark.parametrize("words", [("help",), ("--help",), ("umount", "--help")])
def test_lists_and_help_fit_a_narrow_terminal(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = vfioccw(*words).stdout.decode().splitlines()
    # Examples stand as they are.
    assert [line for line in lines if len(line) > 40 and not line.startswith("    ")] == []
    assert len(lines) > 10
