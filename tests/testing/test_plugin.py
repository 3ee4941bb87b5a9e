"""The pytest plugin: what its fixtures give, and that nothing of a mount is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.mounts import PROJECT, is_mounted, servers_of
from lab.waits import SOON, until

ALONE = ("-p", "no:cacheprovider", "-p", "no:randomly", "-c", os.devnull)
"""This project's settings are not for the tests of others."""


def pytest_command(place: Path, *words: str) -> list[str]:
    return [
        sys.executable, "-m", "pytest", "-q", *ALONE, "--rootdir", str(place),
        "--basetemp", str(place / "tmp"), *words, str(place),
    ]  # fmt: skip


def environment() -> dict[str, str]:
    return {name: word for name, word in os.environ.items() if not name.startswith("PYTEST")}


def run(place: Path, source: str, *words: str, **more) -> subprocess.CompletedProcess[str]:
    """Run pytest on a file with this source; nothing of its mounts is left."""
    (place / "test_it.py").write_text(source)
    done = subprocess.run(
        pytest_command(place, *words), cwd=place, env=environment(), capture_output=True,
        text=True, timeout=SOON, check=False, **more,
    )  # fmt: skip
    assert_nothing_is_left(place)
    return done


def assert_nothing_is_left(place: Path) -> None:
    until(lambda: not servers_of_any(place), "no server is left")
    until(lambda: f" {place}/" not in Path("/proc/self/mounts").read_text(), "nothing is mounted")


def servers_of_any(place: Path) -> list[Path]:
    return [point for point in place.glob("tmp/*/vfioccw-mount*") if servers_of(point)]


def test_each_fixture_gives_what_it_says(tmp_path: Path) -> None:
    done = run(tmp_path, """
import pytest
import trio
from vfioccw_fuse.client import EckdDisk, FbaDisk, LinuxBlocks, ProgramFailed, RequestFailed

def test_plain(vfioccw_subchannel):
    assert vfioccw_subchannel.sense_id().dev_type == 0x9336

@pytest.mark.vfioccw_device("3390,cu=3990-6", cylinders=3, volser="MINE01")
def test_device(vfioccw_subchannel, tmp_path):
    volume = LinuxBlocks(EckdDisk(vfioccw_subchannel))
    assert (volume.layout, volume.blocks) == ("cdl", 540)
    assert "MINE01".encode("cp037") in b"".join(volume.read_blocks(0, 3))

@pytest.mark.vfioccw_fault("unit-check:sense=1000:command=e4")
@pytest.mark.vfioccw_fault("delay", for_="1ms", device=None)
def test_faults(vfioccw_mount):
    system = vfioccw_mount("fba", "3490", "3505", "1403,delay=2ms", interface="async")
    assert [path.name for path in system.subchannels] == [
        "0.0.0313", "0.0.0314", "0.0.0315", "0.0.0316"]
    with pytest.raises(ProgramFailed, match="equipment check"):
        system.client().sense_id()
    assert system.client(1).sense_id().dev_type == 0x3490
    assert system.state(3)["delay"] == "0.002s"
    assert "delay:for=" in system.state(2)["fault"]
    assert not (system.subchannels[0] / "status_region").exists()

def test_several(vfioccw_mount, vfioccw_image):
    image = vfioccw_image("fba", blocks=100)
    assert image.stat().st_size == 51200
    one = vfioccw_mount(f"fba@0.0.0400:{image}")
    two = vfioccw_mount(f"fba@0.0.0400:{image},readonly")
    FbaDisk(one.client()).write_blocks(7, b"x" * 512)
    assert FbaDisk(two.client()).read(7, 1) == b"x" * 512
    one.control("fault=hang")
    with pytest.raises(OSError):
        one.control("no such word")
    one.unmount()
    with vfioccw_mount().client() as sub:
        assert sub.sense_id().mark == 0xFF

async def test_beside_trio(vfioccw_subchannel):
    told = await trio.to_thread.run_sync(vfioccw_subchannel.sense_id)
    assert told.dev_type == 0x9336
""", "-o", "trio_mode=true")  # fmt: skip
    assert "5 passed" in done.stdout, done.stdout


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, """
import pytest

@pytest.mark.vfioccw_fault("nonsense")
def test_fault(vfioccw_subchannel): pass

@pytest.mark.vfioccw_device("9999")
def test_device(vfioccw_subchannel): pass

@pytest.mark.vfioccw_fault()
def test_no_fault(vfioccw_subchannel): pass

def test_image(vfioccw_image): vfioccw_image("3390", cylinders=0)

def test_file(vfioccw_mount): vfioccw_mount("fba@0.0.0313:/no/such/file")

def test_guest(vfioccw_guest): vfioccw_guest("/no/mount/0.0.0313")
""")  # fmt: skip
    assert not re.search("Traceback|During handling", done.stdout + done.stderr)
    for words in (
        r"vfioccw: .*nonsense",
        r"vfioccw: .*9999: unknown device type",
        r"mark vfioccw_fault: one fault, not 0",
        r"vfioccw: 0 cylinders: a 3390 has 1 to 65520",
        r"vfioccw: /no/such/file: ",
        r"QEMU did not start: vfioccw: /no/mount/0.0.0313: ",
    ):
        assert re.search(f"^{words}.*$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"\d+ (failed|errors?)", done.stdout)
    assert "passed" not in done.stdout


FAILING = """
import os
import pytest

@pytest.mark.parametrize("at", range(2))
def test_fails(vfioccw_mount, at):
    system = vfioccw_mount()
    os.open(system.subchannels[0] / "device", os.O_RDWR)
    os.chdir(system.path)
    system.client()
    assert 0
"""


def test_a_failure_leaves_nothing_though_files_are_open(tmp_path: Path) -> None:
    done = run(tmp_path, FAILING)
    assert done.returncode == 1
    assert "2 failed" in done.stdout
    assert "error" not in done.stdout.splitlines()[-1]


def test_a_server_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, """
import os, signal, subprocess
def test_it(vfioccw_mount):
    system = vfioccw_mount()
    system._process.send_signal(signal.SIGKILL)
    system._process.wait()
""")  # fmt: skip
    assert "1 passed, 1 error" in done.stdout
    assert "the server ended by itself" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_it.py").write_text("""
import pytest
@pytest.mark.vfioccw_fault("hang")
def test_it(vfioccw_subchannel, tmp_path):
    (tmp_path / "begun").touch()
    vfioccw_subchannel.sense_id()
""")
    with subprocess.Popen(
        pytest_command(tmp_path), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        until(lambda: list(tmp_path.glob("tmp/*/begun")), "it has begun")
        (point,) = {path.resolve() for path in tmp_path.glob("tmp/*/vfioccw-mount0")}
        assert is_mounted(point)
        process.send_signal(number)
        said, _ = process.communicate(timeout=SOON)
    assert_nothing_is_left(tmp_path)
    assert not is_mounted(point)
    if number == signal.SIGINT:
        assert process.returncode == 2
        assert "KeyboardInterrupt" in said
    else:
        assert process.returncode == -number


def test_runs_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_it.py").write_text("""
def test_it(vfioccw_mount):
    assert vfioccw_mount("fba", "3390").client(1).sense_id().dev_type == 0x3390
""")
        runs.append(
            subprocess.Popen(
                pytest_command(tmp_path / name), cwd=tmp_path, env=environment(),
                stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    for process in runs:
        said, _ = process.communicate(timeout=SOON)
        assert process.returncode == 0, said


def test_a_start_of_pytest_imports_no_more_than_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("""
import sys
def test_it(request):
    assert request.config.pluginmanager.hasplugin("vfioccw")
    ours = {name for name in sys.modules if name.startswith("vfioccw_fuse")}
    beside = {"vfioccw_fuse", "vfioccw_fuse.compiled"}
    assert ours == {*beside, "vfioccw_fuse.testing", "vfioccw_fuse.testing.plugin"}
    assert not {"construct", "click", "pyfuse3", "trio", "greenlet"} & set(sys.modules)
""")
    done = subprocess.run(
        pytest_command(tmp_path, "-p", "no:trio", "-p", "no:hypothesispytest"), cwd=tmp_path,
        env=environment(), capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout


def test_without_dev_fuse_it_says_so(tmp_path: Path) -> None:
    """In a mount namespace of its own, where /dev has no more than what Python needs."""
    (tmp_path / "test_it.py").write_text("def test_it(vfioccw_subchannel): pass\n")
    (tmp_path / "null").touch()
    script = (
        f"mount --bind /dev/null {tmp_path}/null && mount -t tmpfs none /dev && touch /dev/null "
        f'&& mount --bind {tmp_path}/null /dev/null && exec "$@"'
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh",
         *pytest_command(tmp_path)],
        cwd=PROJECT, env=environment(), capture_output=True, text=True, timeout=SOON, check=False,
    )  # fmt: skip
    assert "\nvfioccw: /dev/fuse: not there; load the fuse module (modprobe fuse)\n" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_guest_has_the_devices_of_a_mount(tmp_path: Path) -> None:
    done = run(tmp_path, """
def test_it(vfioccw_mount, vfioccw_guest):
    system = vfioccw_mount("3390", "fba", memory="64MiB")
    guest = vfioccw_guest(system)
    assert guest.check("online 0.0.0313") == "dasda"
    assert guest.check("online 0.0.0314") == "dasdb"
    assert guest.run("dd if=/dev/dasda of=/dev/null bs=64k")[0] == 0
""")  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout
