"""``vfioccw ls`` and ``bench``."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from lab.mounts import Mount, command, mounted_at
from lab.processes import files_of
from lab.waits import SOON, until
from tests.cli.commands import complaint, run, vfioccw

MANY = 3000


def rows(path) -> list[list[str]]:
    done = vfioccw("ls", path)
    assert (done.returncode, done.stderr) == (0, b"")
    return [line.split() for line in done.stdout.decode().splitlines()]


def test_ls_shows_what_lscss_shows(mnt):
    head, row = rows(mnt.path)
    assert head[:2] == ["Device", "Subchan."]
    assert row[:2] == ["0.0.0313", "0.0.0313"]
    assert row[2].startswith("9336")
    assert "yes" in row
    assert "IDLE" in row
    assert row[-1] == str(mnt.image)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Iterator[Mount]:
    place = tmp_path_factory.mktemp("many")
    form = '[[device]]\ntype = "3480"\nsubchannel = "0.0.{:04x}"\nimage = "-"\n'
    (place / "tapes.toml").write_text("".join(map(form.format, range(MANY))))
    with mounted_at(place / "mnt", "--config", place / "tapes.toml") as system:
        yield system


def test_ls_of_very_many_shows_each_once_and_in_order(many):
    _, *found = rows(many.path)
    assert [row[1] for row in found] == [f"0.0.{number:04x}" for number in range(MANY)]
    assert {tuple(row[2:]) for row in found} == {tuple(found[0][2:])}


def test_ctrl_c_ends_ls_of_very_many(many):
    for _ in range(50):
        with subprocess.Popen(
            command("ls", many.path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as listing:
            until(lambda: threads_of(listing) != 1, "it asks by threads, or has ended")
            listing.send_signal(signal.SIGINT)
            assert listing.wait(SOON) in (0, 130, -signal.SIGINT)
            if listing.returncode == 130:
                assert listing.stderr is not None
                assert listing.stderr.read() == b""
                return
    raise AssertionError("it has always ended before the signal")


def threads_of(process: subprocess.Popen[bytes]) -> int:
    """How many it has; 0 if it has ended."""
    return 0 if process.poll() is not None else len(os.listdir(f"/proc/{process.pid}/task"))


@pytest.mark.parametrize("interface", ["start-only", "scsw", "async", "full"])
def test_ls_works_on_every_interface(mount, interface):
    system = mount(f"--interface={interface}")
    assert len(rows(system.path)) == 2


def test_ls_is_no_instruction_in_the_trace(mnt):
    with subprocess.Popen(
        command("trace", mnt.subchannel), stdout=subprocess.PIPE, text=True
    ) as trace:
        assert trace.stdout is not None
        until(lambda: str(mnt.subchannel / "trace") in files_of(trace.pid), "the trace is open")
        assert len(rows(mnt.path)) == 2
        assert run(mnt, "csch").returncode == 0
        assert "csch" in trace.stdout.readline(), "nothing came before it"
        trace.terminate()


def test_bench_prints_its_figures(mnt):
    done = run(mnt, "bench", "--rounds", "20")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    names = [line.rsplit(maxsplit=2)[0] for line in lines[1:]]
    assert names == [
        "pwrite of io_region",
        "pread of io_region",
        "round trip, poll of io_irq",
        "round trip, eventfd",
        "read of 96 blocks (49152 bytes), poll",
    ]
    assert all(float(figure) > 0 for line in lines[1:] for figure in line.rsplit(maxsplit=2)[1:])


def test_bench_of_a_busy_subchannel_is_one_line(mnt):
    assert run(mnt, "ssch", "--ccw", "nop", "--no-wait").returncode == 0
    done = run(mnt, "bench", "--rounds", "20")
    assert done.returncode == 1
    assert "status pending or busy" in complaint(done)
    run(mnt, "tsch")
