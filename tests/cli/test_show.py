"""``vfioccw ls`` and ``bench``."""

import subprocess

import pytest

from lab.mounts import command
from lab.processes import files_of
from lab.waits import until
from tests.cli.commands import complaint, run, vfioccw


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
