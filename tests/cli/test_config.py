"""A channel subsystem in a TOML file: what it makes, and its errors with line and key."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from lab.mounts import MountedSystem, is_mounted, make_image, vfioccw
from vfioccw_fuse.cli.config import read_config
from vfioccw_fuse.css.paths import PathState
from vfioccw_fuse.errors import UserError

GOOD = """\
# Two disks and a console.
interface = "full"
memory = "8MiB"

[[device]]
type = "fba"
subchannel = "0.0.0313"
image = "disk.img"
chpids = [
    "40",
    "42",
]
delay = "20ms"
count = 1

[[device]]
type = "FBA"
subchannel = "0.0.0400"
image = "images/other.img"
readonly = true
interface = "async"

[[device]]
type = "3215"
subchannel = "0.0.0009"
image = "-"

[chpid.42]
state = "off"

[chpid.40]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    make_image(tmp_path / "disk.img")
    (tmp_path / "images").mkdir()
    make_image(tmp_path / "images" / "other.img", 64)
    path = tmp_path / "css.toml"
    path.write_text(GOOD)
    return path


def test_everything_that_it_says_is_read(file: Path) -> None:
    config = read_config(str(file))
    assert config.interface == "full"
    assert config.memory == 8 << 20
    assert config.paths == {0x42: PathState.OFFLINE}
    disk, other, console = config.devices
    assert disk.options == {"chpids": b"\x40\x42", "delay": 0.02, "count": 1}
    assert disk.path == str(file.parent / "disk.img")
    assert (other.type, other.options) == ("fba", {"readonly": True, "interface": "async"})
    assert console.path == "-"


def test_a_whole_channel_subsystem_is_mounted(file: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    done = vfioccw("mount", point, "--config", file, cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    system = MountedSystem(point, tmp_path / "disk.img")
    try:
        names = sorted(os.listdir(point))
        assert names == ["0.0.0009", "0.0.0313", "0.0.0400", "irqfd"]
        assert (point / "0.0.0313" / "memory").stat().st_size == 8 << 20
        assert (point / "0.0.0313" / "status_region").exists()
        assert not (point / "0.0.0400" / "status_region").exists()
        assert "delay: 0.02s" in (point / "0.0.0313" / "state").read_text()
        schib = (point / "0.0.0313" / "schib_region").read_bytes()
        assert schib[16:18] == b"\x40\x42"
        assert schib[15] == 0x80, "path 42 is offline from the beginning"
        assert (point / "0.0.0313" / "crw_region").read_bytes() == bytes(8)
        listed = vfioccw("chp", "list", point).stdout
        assert re.search("^42 +offline +0.0.0313$", listed, re.MULTILINE)
        assert system.unmount().returncode == 0
        system.assert_nothing_is_left()
    finally:
        system.give_up()


def test_the_command_line_comes_on_top(file: Path, tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    image = make_image(tmp_path / "third.img", 64)
    done = vfioccw(
        "mount", point, "--config", file, "--memory", "4MiB", "--interface", "scsw",
        "--device", f"fba@0.0.0401:{image}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    system = MountedSystem(point, image)
    try:
        assert (point / "0.0.0401" / "memory").stat().st_size == 4 << 20
        assert not (point / "0.0.0313" / "cmd_region").exists()
        assert (point / "0.0.0400" / "cmd_region").exists(), "its own interface stays"
        assert system.unmount().returncode == 0
    finally:
        system.give_up()


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "said"),
    [
        ('"20ms"', '"3 days"', 13, "device.delay", "a time such as 3s"),
        ("delay =", "dealy =", 13, "device.dealy", "unknown; one of"),
        ("count = 1", 'count = "no"', 14, "device.count", "a number of hits"),
        ('    "42",\n', "    42,\n", 9, "device.chpids", "a list of strings"),
        ('    "42",\n', '    "4x",\n', 9, "device.chpids", "one to eight different ids"),
        ('"8MiB"', '"8MB"', 3, "memory", "not a size"),
        ('"8MiB"', "true", 3, "memory", "True is not a string"),
        ("memory", "memroy", 3, "memroy", "unknown; one of chpid, device"),
        ('interface = "full"', 'interface = "fool"', 2, "interface", "not one of start-only"),
        ('"async"', '"asink"', 21, "device.interface", "not one of start-only"),
        ("0.0.0009", "0.0.0313", 25, "device.subchannel", "an earlier device has it"),
        ("0.0.0009", "0.9", 25, "device.subchannel", "not a subchannel id"),
        ('"3215"', "3215", 24, "device.type", "put it in quotes"),
        ('"3215"', '"3216"', 24, "device.type", "unknown device type"),
        ('image = "-"', "", 23, "device", "image is missing"),
        ("readonly = true", 'readonly = "yes"', 20, "device.readonly", "true or false"),
        ("readonly = true", 'fault = "explodes"', 20, "device.fault", "unknown; one of none"),
        ("readonly = true", 'order = "little"', 20, "device.order", "big or host"),
        ("readonly = true", 'order = "foo"', 20, "device.order", "order=foo: big or host"),
        ("readonly = true", 'csense = "x"', 20, "device.csense", "csense=x: on or off"),
        ("readonly = true", 'address-limit = "9g"', 20, "device.address-limit", "=9g: an absolute"),
        ("readonly = true", 'chpids = "zz"', 20, "device.chpids", "chpids=zz: one to eight"),
        ('"async"', '"none"', 21, "device.interface", "interface=none: not one of"),
        ("readonly = true", "delay = true", 20, "device.delay", "needs a value, delay=TIME"),
        ("readonly = true", "cu = 1", 20, "device.cu", "unknown; one of"),
        ("readonly = true", "sense = 1979-05-27", 20, "device.sense", "a string, a number"),
        ('state = "off"', 'state = "gone"', 29, "chpid.42.state", "a path goes on, vary-off"),
        ('state = "off"', 'color = "red"', 29, "chpid.42.color", "unknown; one of state"),
        ("[chpid.40]", "[chpid.77]", 31, "chpid.77", "no device has this path"),
        ("[chpid.40]", "[chpid.x]", 31, "chpid.x", "not a chpid"),
        ("count = 1", "count = = 1", 14, "", "invalid value"),
        ("count = 1", f"count = 0x{'f' * 5000}", 14, "device.count", "more than 64 bits"),
        ("count = 1", f'count = "{"0" * 5000}1"', 14, "device.count", "a number of hits"),
        ("count = 1", "for = 1e400", 14, "device.for", "a time such as 3s"),
        ('"8MiB"', f"0x{'f' * 5000}", 3, "memory", "more than 64 bits"),
        ('"8MiB"', f'"{"9" * 5000}T"', 3, "memory", "5000 digits; at most"),
        ("[chpid.40]", '[chpid."٤٠"]', 31, "chpid.٤٠", "not a chpid"),
        ("[chpid.40]", f"[chpid.40{'.a' * 5000}]", 31, "chpid.40.a.a.a.a.a.a", "as deep in tables"),
        ('"disk.img"', '"disk\\u0000.img"', 8, "device.image", "control character"),
        ('"disk.img"', '"disk\\n.img"', 8, "device.image", "control character"),
        ("count = 1", 'delay = "1s"', 14, "", "cannot overwrite a value"),
    ],
)
def test_an_error_is_one_line_with_line_and_key(file: Path, old, new, line, key, said) -> None:
    text = file.read_text()
    assert old in text
    place = text.rindex(old) if old.startswith(("[chpid", '"3215"')) else text.index(old)
    file.write_text(text[:place] + new + text[place + len(old) :])
    with pytest.raises(UserError) as wrong:
        read_config(str(file))
    message = wrong.value.message
    assert "\n" not in message
    where = f"{file}:{line}: {key}: " if key else f"{file}:{line}: "
    assert message.startswith(where), message
    assert said in message
    done = vfioccw("mount", file.parent, "--config", file)
    assert done.returncode == 1
    assert done.stderr == f"vfioccw: {message}\n"
    assert not is_mounted(file.parent)


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    done = vfioccw("mount", tmp_path, "--config", tmp_path / "none.toml")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "none.toml: no such file" in done.stderr
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text"):
        read_config(str(tmp_path / "binary.toml"))


def test_the_line_is_found_quickly_in_a_file_of_a_thousand_devices(tmp_path: Path) -> None:
    device = '[[device]]\ntype = "3215"\nsubchannel = "0.0.{:04x}"\nimage = "-"\n'
    text = "".join(device.format(number) for number in range(1000))
    path = tmp_path / "large.toml"
    path.write_text(text + device.format(5))
    with pytest.raises(UserError, match=r":4003: device.subchannel: 0.0.0005"):
        read_config(str(path))


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000])
def test_what_the_parser_itself_cannot_read_is_one_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "css.toml"
    path.write_text(f'interface = "full"\n\nmemory = {value}\n')
    with pytest.raises(UserError, match=r":3: a number too large or tables too deep to be read"):
        read_config(str(path))


def test_what_is_no_text_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "css.toml"
    path.write_bytes(b'interface = "full"\n# \xff\n')
    with pytest.raises(UserError, match=r"css\.toml:2: not a text in UTF-8"):
        read_config(str(path))


def test_an_image_that_cannot_be_attached_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "css.toml"
    path.write_text('[[device]]\ntype = "fba"\nsubchannel = "0313"\nimage = "none.img"\n')
    wrong = read_config(str(path)).placed(UserError(f"{tmp_path}/none.img: no such image"))
    assert wrong.message == f"{path}:4: device.image: {tmp_path}/none.img: no such image"
    other = UserError("/dev/fuse: no")
    assert read_config(str(path)).placed(other) is other


@pytest.mark.parametrize("text", ["", "# nothing\n", 'interface = "async"'])
def test_a_file_may_say_little(tmp_path: Path, text: str) -> None:
    path = tmp_path / "css.toml"
    path.write_text(text)
    config = read_config(str(path))
    assert config.devices == ()
    assert config.paths == {}


@pytest.mark.parametrize("text", ["device = 3", "[device]\ntype = 'fba'", "chpid = 3"])
def test_tables_of_the_wrong_kind_are_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "css.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=r":1: "):
        read_config(str(path))


def test_a_file_of_many_devices_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    loads = tomllib.loads

    def counted(text: str) -> dict[str, Any]:
        reads.append(text)
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    table = '[[device]]\ntype = "3480"\nsubchannel = "0.0.{:04x}"\nimage = "-"\n'
    (tmp_path / "css.toml").write_text("".join(map(table.format, range(500))))
    assert len(read_config(str(tmp_path / "css.toml")).devices) == 500
    assert len(reads) == 1
