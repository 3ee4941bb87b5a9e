"""Every error is one line, with the right exit status, never a traceback."""

import errno
import os
import signal
import subprocess

import click
import pytest

from lab.mounts import PROJECT
from lab.mounts import command as command_line
from lab.processes import ASLEEP_IN_POLL, files_of, sleeps_in
from lab.waits import SOON, until
from tests.cli.commands import complaint, vfioccw
from vfioccw_fuse.cli import COMMANDS, guarded
from vfioccw_fuse.errors import UserError


def raising(error: BaseException):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("x: is bad; do y"), 1, "vfioccw: x: is bad; do y"),
        (click.UsageError("No such thing."), 2, "vfioccw: No such thing; see vfioccw --help"),
        (
            OSError(errno.ENOTCONN, "Transport endpoint is not connected", "/m"),
            1,
            "vfioccw: /m: transport endpoint is not connected; the server of this mount is gone; "
            "run vfioccw umount, then mount it again",
        ),
        (OSError(errno.EROFS, "Read-only file system"), 1, "vfioccw: read-only file system"),
        (
            ZeroDivisionError("a\nb"),
            1,
            "vfioccw: ZeroDivisionError: a b; this is a bug",
        ),
    ],
)
def test_exceptions_become_one_line(capsys, error, status, line):
    assert guarded(raising(error)) == status
    err = capsys.readouterr().err
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_ctrl_c_is_130_and_silent(capsys, error):
    assert guarded(raising(error)) == 130
    assert capsys.readouterr().err == ""


def test_a_number_is_the_exit_status():
    assert guarded(lambda: 1) == 1
    assert guarded(lambda: None) == 0
    assert guarded(lambda: True) == 0


def test_no_command_shows_the_help_on_stderr():
    done = vfioccw()
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"A first round:" in done.stderr


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["nonsense"], "No such command 'nonsense'; see vfioccw --help"),
        (["umount"], "Missing argument 'MNT'; see vfioccw umount --help"),
        (["ls", "--all", "/"], "No such option '--all'; see vfioccw ls --help"),
        (
            ["image", "create", "fba"],
            "Missing argument 'FILE'; see vfioccw image create fba --help",
        ),
    ],
)
def test_wrong_use_is_2_and_one_line(args, line):
    done = vfioccw(*args)
    assert done.returncode == 2
    assert complaint(done) == line


@pytest.mark.parametrize(
    "command",
    [
        *("ls", "umount", "trace", "debug", "ssch", "hsch", "csch", "stsch", "tsch", "read"),
        "bench",
    ],
)
def test_what_is_no_mount_is_one_line_with_the_remedy(tmp_path, command):
    for path in (tmp_path, tmp_path / "missing"):
        more = ["--ccw", "nop"] if command == "ssch" else []
        done = vfioccw(command, path, *more)
        assert done.returncode == 1
        assert complaint(done).startswith(str(path))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("fsm",), ("fsm", "--json"), ("--help",)])
def test_output_that_does_not_fit_is_one_line(words, unbuffered):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command_line(*words), stdout=full, stderr=subprocess.PIPE, check=False, timeout=SOON,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == b"vfioccw: stdout: no space left on device; free some space\n"


def test_a_closed_pipe_is_silent(mnt):
    with subprocess.Popen(
        command_line("read", mnt.subchannel),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdout.read(10)
        reader.stdout.close()
        assert reader.stderr.read() == b""
        assert reader.wait(SOON) == 0


def test_ctrl_c_of_a_waiting_command_is_130(mnt):
    with subprocess.Popen(
        command_line("tsch", mnt.subchannel, "--timeout", "60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as waiting:
        until(lambda: f"{mnt.subchannel}/io_irq" in files_of(waiting.pid), "it has its files")
        until(lambda: sleeps_in(ASLEEP_IN_POLL, waiting.pid), "it waits")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(SOON) == 130
        assert waiting.stderr is not None
        assert waiting.stderr.read() == b""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_ended_says_that_the_program_goes_on(mnt, number, status):
    mnt.control("fault=hang")
    with subprocess.Popen(
        command_line("ssch", mnt.subchannel, "--ccw", "nop", "--timeout", "60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stdout is not None
        assert waiting.stderr is not None
        assert waiting.stdout.readline() == "ssch: cc 0, accepted\n"
        until(lambda: sleeps_in(ASLEEP_IN_POLL, waiting.pid), "it waits")
        waiting.send_signal(number)
        assert waiting.wait(SOON) == status
        assert waiting.stderr.read() == (
            f"vfioccw: {mnt.subchannel}: the start function goes on; "
            "vfioccw tsch waits for it, vfioccw csch ends it\n"
        )


def test_the_table_of_commands_is_true():
    import importlib

    for name, entry in COMMANDS.items():
        module = importlib.import_module(f"vfioccw_fuse.cli.{entry.module}")
        command = getattr(module, f"{name}_command")
        assert isinstance(command, click.Command)
        assert command.name == name
