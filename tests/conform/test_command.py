"""`vfioccw conform` as a user meets it: what it says, what it leaves, and wrong use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mounts import PROJECT, SCHID, Mount, command, end_servers, is_mounted, mounted_at, vfioccw
from lab.processes import command_of
from lab.waits import SOON, until
from vfioccw_fuse.conform import HERE
from vfioccw_fuse.conform.compare import read_kinds
from vfioccw_fuse.conform.judge import all_cases, recorded
from vfioccw_fuse.conform.mounts import DEVICE

FEW = ("--case", "storage key", "--case", "IRB read twice", "--case", "halt, halt")


def volume(directory: Path) -> Path:
    """A volume that the cases can be asked of."""
    image = directory / "volume.ckd"
    done = vfioccw("image", "create", "3390", image, "--cylinders", 5, "--volser", "VFC001")
    assert done.returncode == 0, done.stderr
    return image


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Mount]:
    words = ("--interface", "async", "--device", f"3390@{SCHID}:{volume(tmp_path)},cu=3990-6")
    with mounted_at(tmp_path / "mnt", *words) as system:
        yield system


def complaint(done: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The one line of a command that failed."""
    assert (done.returncode, done.stdout) == (status, ""), done.stdout
    [line] = done.stderr.splitlines()
    return line.removeprefix("vfioccw: ")


def test_a_mount_is_compared_with_what_linux_answered(system: Mount) -> None:
    done = vfioccw("conform", system.path / SCHID, *FEW)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Linux 6.12\n")
    assert done.stdout.endswith("    0 not explained\n")


def test_volume_control_and_paths_are_as_before(system: Mount) -> None:
    image = system.path.parent / "volume.ckd"
    system.control("delay=0.25s sense=08 order=host")
    before = system.file("control").read_text(), image.read_bytes()
    done = vfioccw("conform", system.path / SCHID, "--case", "path", "--case", "unit check")
    assert done.returncode == 0, done.stdout
    assert (system.file("control").read_text(), image.read_bytes()) == before
    assert system.state()["pmcw.pam"].startswith("c0")


def test_what_differs_is_said_in_words_and_ends_with_1(system: Mount, tmp_path: Path) -> None:
    """The driver here is one that has another answer in a file."""
    answers = tmp_path / "answers"
    text = "asked container 6.12.1\ncase storage key 3\nwrite 124 ret_code 0\n"
    irb = "30c04017" + "00001008" + "0c00002c" + "00800000"
    answers.write_text(f"{text}events 1 irb {irb.ljust(192, '0')}\nstorage {'00' * 20}\n")
    done = vfioccw("conform", system.path / SCHID, "--answers", answers)
    assert done.returncode == 1
    said = done.stdout.splitlines()
    assert said[0].startswith("storage key 3: answer 2: scsw.stctl: Linux 0017 (alert status,")
    assert said[1:] == ["Linux 6.12.1", "    1 cases", "    0 equal", "    1 not explained"]


def test_a_verdict_for_programs(system: Mount) -> None:
    done = vfioccw("conform", system.path / SCHID, "--json", "--case", "storage key 3")
    assert done.returncode == 0
    [case] = json.loads(done.stdout)["cases"]
    assert json.loads(done.stdout)["linux"] == "6.12"
    assert json.loads(done.stdout)["differs"] is False
    assert (case["case"], case["verdict"]) == ("storage key 3", "equal")
    assert case["linux"] == case["ours"] != []


def test_a_mount_is_made_where_none_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        command("conform", "--kernel", "6.1", "--case", "storage key 3", "--all"),
        env=environment(tmp_path), capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "storage key 3: on the list: the storage key"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interface", ["start-only", "scsw"])
def test_older_interfaces_are_asked_what_they_have(tmp_path: Path, interface: str) -> None:
    done = vfioccw("conform", "--interface", interface, "--case", "halt", "--case", "TIC", "--json")
    assert done.returncode == 0, done.stdout
    names = {case["case"] for case in json.loads(done.stdout)["cases"]}
    assert "TIC" in " ".join(names)
    assert ("fctl halt" in names) == (interface == "start-only")
    assert "halt, halt" not in names


def test_the_cases_are_listed() -> None:
    said = vfioccw("conform", "--list").stdout.splitlines()
    assert len(said) == 3 * len(all_cases())
    listed = json.loads(vfioccw("conform", "--list", "--json", "--case", "storage key 3").stdout)
    assert [sorted(case) for case in listed] == [["do", "name", "why"]]


def environment(directory: Path) -> dict[str, str]:
    """Temporary files lie in *directory*."""
    return {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(directory)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended(tmp_path: Path, number: int) -> None:
    def mounts() -> list[Path]:
        return [path for path in tmp_path.glob("*/mnt") if is_mounted(path)]

    def ours() -> list[int]:
        found = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return [pid for pid in found if str(tmp_path) in " ".join(command_of(pid))]

    with subprocess.Popen(
        command("conform"), env=environment(tmp_path),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        until(lambda: any("script" in " ".join(command_of(pid)) for pid in ours()), "it asks")
        [mnt] = mounts()
        process.send_signal(number)
    try:
        until(lambda: not ours() and not is_mounted(mnt), "nothing runs, nothing is mounted")
    finally:
        end_servers(mnt)
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("device", "interface", "why"),
    [
        ("3390", "full", "interface full, which Linux has not; mount it with --interface async"),
        ("fba", "async", f"the cases are for --device {DEVICE}; this has devtype 9336"),
    ],
)
def test_a_mount_of_another_kind_is_told_what_is_needed(
    tmp_path: Path, device: str, interface: str, why: str
) -> None:
    image = volume(tmp_path)
    if device == "fba":
        image.write_bytes(bytes(1 << 20))
    words = ("--interface", interface, "--device", f"{device}@{SCHID}:{image}")
    with mounted_at(tmp_path / "mnt", *words) as system:
        line = complaint(vfioccw("conform", system.path / SCHID))
    assert line.startswith(f"{tmp_path}/mnt/{SCHID}: {why}")


def test_another_volume_is_told_which_one_is_needed(tmp_path: Path) -> None:
    image = tmp_path / "other.ckd"
    assert vfioccw("image", "create", "3390", image, "--cylinders", 5).returncode == 0
    words = ("--interface", "async", "--device", f"3390@{SCHID}:{image},cu=3990-6")
    with mounted_at(tmp_path / "mnt", *words) as system:
        line = complaint(vfioccw("conform", system.path / SCHID))
    assert "vfioccw image create 3390 FILE --cylinders 5 --volser VFC001" in line


def test_a_subchannel_that_somebody_has_is_left_alone(system: Mount) -> None:
    with subprocess.Popen(
        command("conform", system.path / SCHID), env=environment(system.path.parent),
        stdout=subprocess.DEVNULL,
    ) as other:  # fmt: skip
        until(lambda: system.state()["io_irq.attached"] == "1", "the other asks")
        assert "in use by another client" in complaint(vfioccw("conform", system.path / SCHID))
        other.terminate()
    system.until_nobody_is_connected()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--answers", "x", "--driver"), "--answers takes the place of"),
        (("--iommufd",), "add --driver"),
        (("--busybox", "x"), "add --driver"),
        (("--random", "5"), "add --driver"),
        (("--random", "5", "--driver", "--case", "x"), "no names for --case"),
        (("--record", "--case", "x"), "--record keeps all answers"),
        (("--case", "no such case"), "no case has that in its name"),
        (("--kernel", "5.10"), "add --driver to ask a kernel of yours"),
    ],
)
def test_wrong_use_is_one_line_and_2(words: tuple[str, ...], why: str) -> None:
    assert why in complaint(vfioccw("conform", *words), 2)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("/nowhere/0.0.0313",), "is it mounted?"),
        (("--answers", "nothing"), "no such file"),
        (("--answers", __file__), "they begin with a line asked WAY RELEASE"),
        (("--driver", "--kernel", "nothing"), "no such file"),
        (("--driver", "--kernel", __file__), "no Linux for s390x"),
        (("--driver", "--kernel", "6.1", "--busybox", __file__), "no program for s390x"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_1(words: tuple[str, ...], why: str) -> None:
    assert why in complaint(vfioccw("conform", *words))


@pytest.mark.parametrize("compiler", ["gcc", "s390x-linux-gnu-gcc"])
def test_a_compiler_that_is_missing_is_one_line(tmp_path: Path, compiler: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("fusermount3", "qemu-system-s390x", "apt-get", "make", "xz"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(bytes(0x10008) + b"S390EP")
    driver = ("--driver", "--kernel", str(kernel)) if "s390x" in compiler else ()
    done = subprocess.run(
        command("conform", *driver), env={**environment(tmp_path), "PATH": str(programs)},
        capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert complaint(done).startswith(f"{compiler}: not found; apt-get install gcc")


@pytest.mark.parametrize(
    ("kernel", "remedy"),
    [("6.12", "vfioccw guest kernel --source DIR"), ("6.1", "vfioccw guest fetch --source 'deb ")],
)
def test_an_archive_that_cannot_be_read_is_one_line(
    tmp_path: Path, kernel: str, remedy: str
) -> None:
    (tmp_path / "sources").write_text(f"deb file:{tmp_path}/nothing stable main\n")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{tmp_path}/sources";\nDir::Etc::sourceparts "/nothing";\n'
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bc", "bison", "flex"):
        # They are looked for, and nothing comes that they could build.
        (tools / name).symlink_to("/bin/false")
    given = {
        "APT_CONFIG": f"{tmp_path}/apt.conf", "XDG_CACHE_HOME": f"{tmp_path}/cache",
        "PATH": f"{tools}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        command("conform", "--driver", "--kernel", kernel), env={**environment(tmp_path), **given},
        capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    what, line = done.stderr.splitlines()
    assert what.endswith(", once")
    assert line.startswith("vfioccw: no packages for s390x: ")
    assert remedy in line


def test_what_is_taken_to_a_mainframe_compiles_and_is_compared_when_it_comes_back(
    system: Mount, tmp_path: Path
) -> None:
    """The mainframe is a mount here: the same program, the same script, by the files."""
    kit = tmp_path / "kit"
    done = vfioccw("conform", "--write-script", kit)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in kit.iterdir()) == ["README.md", "client.c", "script"]
    script = (kit / "script").read_text()
    assert "\ncontrol " not in script
    assert "\nchp " not in script
    client = kit / "client"
    subprocess.run(["gcc", "-O2", kit / "client.c", "-o", client, "-Werror"], check=True)
    # Without the ioctls, which files have not.
    cases = [case for case in script.split("case ")[1:] if "\nioctl " not in case]
    (kit / "script").write_text("".join(f"case {case}" for case in cases))
    with open(kit / "answers", "w") as answers:
        subprocess.run(
            [client, "mount", system.path, SCHID, kit / "script"], stdout=answers, check=True
        )
    done = vfioccw("conform", "--answers", kit / "answers", "--json")
    found = json.loads(done.stdout)["cases"]
    assert len(found) == len(cases)
    faster = {name for kind in read_kinds(HERE / "differences.toml") for name in kind.either}
    assert all(case["linux"] == case["ours"] or case["case"] in faster for case in found)


def test_the_recorded_answers_are_in_the_package() -> None:
    assert all(recorded(series).is_relative_to(HERE) for series in ("6.1", "6.12"))
