"""The process that serves a mount: a daemon, or the one in the foreground; and where its log goes.

A daemon is one child in a session of its own, with the working directory `/` and none of the
caller's descriptors, which tells the waiting parent through a pipe that the mount is usable or why
it will not be. Until then it keeps the caller's stderr, because libfuse and fusermount3 complain
there; after that it is on `/dev/null`.
"""

import contextlib
import json
import logging
import os
import resource
import signal
import socket
import sys
from logging.handlers import SysLogHandler
from typing import TYPE_CHECKING, NamedTuple

import click

from ..errors import UserError
from . import EXIT_FAILURE, EXIT_OK, in_words

if TYPE_CHECKING:
    from ..fuse.mount import MountOptions

_SYSLOG = "/dev/log"
_OURS = logging.getLogger(__package__.partition(".")[0])
_STANDARD = 3  # descriptors 0, 1 and 2


class Log(NamedTuple):
    """What of the log is wanted."""

    file: str | None = None
    """Absolute path of the file that it is added to, beside syslog or stderr; None: there alone."""
    verbose: bool = False
    """Whether it says what comes and goes, beside warnings and errors."""


def serve_in_foreground(point: str, options: "MountOptions", log: Log) -> int:
    """Serve *point* in this process; give its exit status. The log goes to stderr."""
    from ..fuse.mount import serve

    _log_to_stderr()
    _keep(log)
    return serve(point, options, lambda: _say_ready(point))


def _say_ready(point: str) -> None:
    """Tell who started this process that the mount is usable."""
    click.echo(f"{point}: mounted; Ctrl-C ends it")
    sys.stdout.flush()
    _tell_service_manager()


def _tell_service_manager() -> None:
    """Say READY=1 to systemd, or who else speaks its protocol (sd_notify(3)), if it waits."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            try:
                told.connect(f"\0{name[1:]}" if name.startswith("@") else name)
                told.send(b"READY=1")
            except OSError as failed:
                _OURS.warning("NOTIFY_SOCKET=%s: %s", name, failed.strerror)


def serve_in_background(point: str, options: "MountOptions", log: Log) -> int:
    """Serve *point* in a daemon; give the exit status when it is usable or has failed."""
    sys.stdout.flush()
    sys.stderr.flush()
    listen, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(listen)
        # Not back through click, whose context belongs to the parent.
        os._exit(_daemon(point, options, log, tell))
    os.close(tell)
    os.waitpid(child, 0)  # it forks once more and is gone at once
    with os.fdopen(listen, "rb") as pipe:
        told = pipe.read()
    if not told:
        raise UserError(f"{point}: the server ended before it was ready; see vfioccw mount -f")
    outcome = json.loads(told)
    if outcome["error"] is not None:
        raise UserError(outcome["error"])
    return EXIT_OK


def _daemon(point: str, options: "MountOptions", log: Log, tell: int) -> int:
    """Become a daemon and serve *point*; *tell* is the pipe to the waiting parent.

    Gives the daemon's exit status, which nobody sees.
    """
    from ..fuse.mount import serve

    waiting = True

    def report(error: str | None) -> None:
        nonlocal waiting
        waiting = False
        try:
            os.write(tell, json.dumps({"error": error}).encode())
        except BrokenPipeError:
            # The caller gave up (Ctrl-C): nobody asked for this mount any more.
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.close(tell)

    def ready() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)
        os.close(null)
        report(None)

    try:
        _detach(tell)
        _log_to_syslog()
        _keep(log)
        status = serve(point, options, ready)
    except UserError as failed:
        status, words = EXIT_FAILURE, failed.message
    except OSError as failed:
        status, words = EXIT_FAILURE, in_words(failed)
    except Exception as failed:
        status, words = EXIT_FAILURE, f"{point}: {type(failed).__name__}: {failed}"
    else:
        words = f"{point}: the server ended before it was ready" if waiting else ""
    if waiting:
        report(words)
    elif words:
        _OURS.error("%s", words)
    return status


def _detach(kept: int) -> None:
    """Go on in a child that has nothing of the caller's but stderr and the descriptor *kept*.

    By setsid(2) and another fork(2) no terminal can become its own; it dumps no core, as guest
    storage may hold anything.
    """
    os.setsid()
    if os.fork():
        os._exit(EXIT_OK)
    os.chdir("/")
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in map(int, os.listdir("/proc/self/fd")):
        if number >= _STANDARD and number != kept:
            with contextlib.suppress(OSError):  # the one that listed them is closed by now
                os.close(number)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _log_to_syslog() -> None:
    """Send this process's log to syslog if there is one, and its warnings to who waits for it.

    Nobody does once the mount is usable: stderr leads nowhere then.
    """
    logging.raiseExceptions = False  # a syslog that is not there shall not be talked about
    try:
        handler: logging.Handler = SysLogHandler(_SYSLOG, SysLogHandler.LOG_DAEMON)
        handler.setFormatter(logging.Formatter("vfioccw[%(process)d]: %(message)s"))
    except OSError:
        handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    _log_to_stderr(logging.WARNING)


def _log_to_stderr(level: int = logging.NOTSET) -> None:
    """Show this process's log, from *level* on, as all that the command says."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("vfioccw: %(message)s"))
    handler.setLevel(level)
    logging.getLogger().addHandler(handler)


def _keep(log: Log) -> None:
    """Do what is wanted with *log*; OSError if its file cannot be added to."""
    _OURS.setLevel(logging.INFO if log.verbose else logging.WARNING)
    if log.file is not None:
        handler = logging.FileHandler(log.file, encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s vfioccw[%(process)d]: %(message)s"))
        logging.getLogger().addHandler(handler)
