"""What regions/README.md says of `state` and `irqfd` is so, and its client works."""

from __future__ import annotations

import ast
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.mounts import PROJECT, MountedSystem
from lab.waits import SOON
from vfioccw_fuse.regions.state import is_attached, parse_state

README = (PROJECT / "regions" / "README.md").read_text()
SENSE_ID = "dstat 0c cstat 00: ff631001933600\n"


def section(title: str) -> str:
    return README.partition(f"\n## {title}")[2].partition("\n## ")[0]


def listing(language: str) -> str:
    [text] = re.findall(rf"^```{language}\n(.*?)^```", section("irqfd"), re.DOTALL | re.MULTILINE)
    return str(text)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=SOON, check=False
    )


def test_the_client_in_python_works(mnt: MountedSystem, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(listing("python"))
    done = run(sys.executable, "-I", program, mnt.path)
    assert (done.returncode, done.stdout, done.stderr) == (0, SENSE_ID, "")


def test_an_error_ends_the_client_with_its_words(mnt: MountedSystem, tmp_path: Path) -> None:
    program = tmp_path / "client.py"
    program.write_text(listing("python").replace('"offset": 0}', '"offset": 1}'))
    done = run(sys.executable, "-I", program, mnt.path)
    assert done.returncode == 1
    assert "4096" in done.stderr


def messages() -> list[dict[str, object]]:
    """The messages of the table, with numbers for its letters."""
    found = re.findall(r"^\| `(\{.*?\})` \|", section("irqfd"), re.MULTILINE)
    return [json.loads(text.replace("N", "4096").replace("A}", "4096}")) for text in found]


@pytest.mark.parametrize("message", messages(), ids=json.dumps)
def test_a_message_of_the_table_is_understood(
    message: dict[str, object], mnt: MountedSystem
) -> None:
    """What is wrong may only be what this test leaves out: descriptors, media, maps."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(SOON)
        client.connect(str(mnt.socket))
        client.send(json.dumps(message).encode())
        answer = json.loads(client.recv(1 << 16))
    assert not re.search("must have|must be|is add, remove or chp", answer.get("error", ""))


def test_every_word_of_a_message_is_in_the_table() -> None:
    words = {word for message in messages() for word in message}
    assert words == {"subchannel", "irq", "map", "unmap", "do", "device", "file", "chpid", "state"}
    done = {message["do"] for message in messages() if "do" in message}
    assert done == {"add", "remove", "load", "unload", "chp"}


NOT_CAUSED = {"…: guest memory cannot be mapped here"}
"""What a mount never says: it always has where to map."""


def text_of(node: ast.expr) -> str:
    """A text in the source, with … for what is only known when it is said."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(text_of, parts))
        case _:
            return "…"


def refusals(source: str) -> set[str]:
    """What the server of irqfd refuses with."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name("_Refused"), args=[text]):
                found.add(text_of(text))
            case ast.Call(func=ast.Name("_expect"), args=[_, _, rule]):
                found.add(f"{text_of(rule)}, and … descriptors came")
            case ast.Call(func=ast.Name("_answer"), args=[_, text]):
                found.add(text_of(text))
    # What `_expect` makes of its rules.
    return found - {"…, and … descriptors came"}


def test_the_errors_of_the_socket_are_those_of_the_table() -> None:
    table = re.findall(
        r"^\| `([^`]*)` \|", section("irqfd").partition("| error |")[2], re.MULTILINE
    )
    assert len(table) == len(set(table)) > 15
    source = (PROJECT / "vfioccw_fuse" / "fuse" / "irqfd.py").read_text()
    assert set(table) == refusals(source) - NOT_CAUSED


def documented(key: str) -> str:
    """The key as the table names it."""
    key = re.sub(r"^\w+_irq\.", "IRQ.", key)
    return re.sub(r"^(scsw|pmcw)\..*", r"\1.FIELD", key)


def test_every_key_of_state_is_documented_and_every_documented_one_is_there(
    mount: Callable[..., MountedSystem],
) -> None:
    state = parse_state((mount("shared").subchannel / "state").read_text())
    table = "".join(re.findall(r"^\|(.*)\|$", section("state"), re.MULTILINE))
    keys = {documented(key) for key in state}
    for key in keys:
        assert f"`{key}`" in table, key
    first = "".join(re.findall(r"^\|([^|]*)\|", section("state"), re.MULTILINE))
    assert set(re.findall(r"`([\w.]+)`", first)) <= keys


def test_state_says_when_a_client_has_an_eventfd(mnt: MountedSystem) -> None:
    assert not is_attached(parse_state((mnt.subchannel / "state").read_text()))
    assert is_attached({"io_irq.attached": "0", "crw_irq.attached": "1"})
