"""The command `vfioccw`: the table of commands, and how every error looks.

One file holds a group of commands and is imported when one of them runs: `vfioccw ls` must not
pay for what `mount` needs (trio and pyfuse3 alone take 0.3 s to import). So this file imports
nothing but click, and knows of every command its name, its file and one line of help.

Errors are one line on stderr, never a traceback:

- wrong use (an unknown option, a missing argument): exit status 2;
- anything that fails (`UserError`, an OSError from the mount): exit status 1;
- Ctrl-C: exit status 130, silent; a reader that closed its pipe: silent.

`VFIOCCW_TRACEBACK=1` in the environment shows the traceback of an error that nobody foresaw.
"""

import contextlib
import errno
import importlib
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import click

from .. import __version__, compiled
from ..errors import ESCAPING, UserError, printable, reason

COMPLETE = "_VFIOCCW_COMPLETE"
"""The variable in which a shell asks how a command line goes on."""
_NARROW = 52  # columns
EXIT_OK = 0
"""Exit status: done."""
EXIT_FAILURE = 1
"""Exit status: it was asked rightly and failed."""
EXIT_USAGE = 2
"""Exit status: it was asked wrongly; nothing was done."""
EXIT_INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells show it."""


class Entry(NamedTuple):
    """What the table knows of a command before its file is imported."""

    section: str
    """The heading under which `--help` lists it."""
    module: str
    """The file in this package that defines it; the command is the attribute named `NAME_command`
    with `-` as `_`."""
    help: str
    """One line for `vfioccw --help`."""


COMMANDS: dict[str, Entry] = {
    "mount": Entry("The mount", "mount", "Show devices as subchannels below a directory."),
    "umount": Entry("The mount", "mount", "End a mount."),
    "add": Entry("The mount", "chp", "Attach another device while mounted."),
    "remove": Entry("The mount", "chp", "Take a subchannel away while mounted."),
    "load": Entry("The mount", "chp", "Put a tape, cards or paper into a device in use."),
    "unload": Entry("The mount", "chp", "Take them out."),
    "chp": Entry("The mount", "chp", "List channel paths, take them away, bring them back."),
    "mounts": Entry("Looking", "listing", "List your mounts: where, by which process, since when."),
    "ls": Entry("Looking", "show", "List the subchannels of a mount, like lscss."),
    "decode": Entry("Looking", "show", "Say in words what an ORB, a CCW, an IRB ... means."),
    "trace": Entry("Looking", "trace", "Follow what subchannels do, like tail -f."),
    "debug": Entry("Looking", "debug", "Execute channel programs CCW by CCW."),
    "ssch": Entry("By hand", "drive", "Start a channel program, show the interruption."),
    "hsch": Entry("By hand", "drive", "Halt what runs."),
    "csch": Entry("By hand", "drive", "Clear the subchannel."),
    "rsch": Entry("By hand", "synchronous", "Resume a suspended program."),
    "xsch": Entry("By hand", "synchronous", "Cancel a start that is pending or suspended."),
    "msch": Entry("By hand", "synchronous", "Modify the subchannel: parameter, paths, enabled."),
    "stsch": Entry("By hand", "drive", "Store the subchannel-information block."),
    "control": Entry("By hand", "control", "Switch faults and timing, show what holds."),
    "tsch": Entry("By hand", "drive", "Wait for the next interruption and take it."),
    "read": Entry("Blocks and media", "blocks", "Copy blocks of a disk to a file."),
    "write": Entry("Blocks and media", "blocks", "Copy a file to blocks of a disk."),
    "image": Entry("Blocks and media", "image", "Make and inspect media."),
    "qemu": Entry("A guest", "qemu", "Boot s390x Linux in QEMU on subchannels of a mount."),
    "guest": Entry("A guest", "guest", "Run a script or a shell in an s390x Linux, for tests."),
    "conform": Entry("A guest", "conform", "Compare a mount with Linux's own vfio_ccw."),
    "run": Entry("Without a mount", "run", "Run a scenario on the channel subsystem."),
    "fsm": Entry("Without a mount", "fsm", "Draw the state machine of a subchannel."),
    "bench": Entry("Speed", "bench", "Measure the requests of one subchannel."),
    "completion": Entry("The shell", "completion", "Complete command lines in bash, zsh, fish."),
    "help": Entry("The manual", "help", "Show a page of the manual, or list all."),
}
"""All commands in the order and under the headings in which `--help` shows them."""


class CommandTable(click.Group):
    """A click group that imports a command's file when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands; imports nothing."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of *cmd_name* and give its command; None if there is no such name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"{__name__}.{entry.module}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that *args* begins with; UsageError names the nearest if there is none.

        click looks for it among those that are imported.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError:
            hint = did_you_mean(args[0], COMMANDS)
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings; imports nothing."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in COMMANDS.items():
            sections.setdefault(entry.section, []).append((name, entry.help))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Give the commands that begin with *incomplete*, for a shell; imports none of them."""
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=entry.help)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C and a closed pipe end it as this package's docstring says.

        click would answer both itself, further out.
        """
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            # The reader (head, less) has what it wanted.
            _print_no_more()
            ctx.exit(EXIT_OK)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run the command line *args* (default: the process's) and end the process.

        The exit status and the wording of every error are this package's: see its docstring.
        """
        extra["standalone_mode"] = False
        extra.setdefault("prog_name", "vfioccw")
        extra.setdefault("complete_var", COMPLETE)
        # click itself sets help for 50 columns at least.
        if (columns := shutil.get_terminal_size().columns) < _NARROW:
            extra.setdefault("terminal_width", max(columns - 2, 20))
        _complete_streams()
        if COMPLETE in os.environ:
            importlib.import_module(f"{__name__}.completion").prepare()
        sys.exit(guarded(lambda: super(CommandTable, self).main(args, *rest, **extra)))


class Subcommands(click.Group):
    """A click group whose help has the whole first sentence of each command, not its beginning."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, in the order of their names."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(1000)) for name, command in
                 sorted(self.commands.items())]
            )  # fmt: skip


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence, a blank before it, with the nearest of the *known* words; "" if none is near."""
    import difflib

    near = difflib.get_close_matches(word, known, 1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _complete_streams() -> None:
    """Put /dev/null where the caller closed stdin, stdout or stderr, and let all text be written.

    Otherwise the next file that is opened would be one of them. A file name may have bytes that
    are no text, and a locale may lack letters: they are escaped.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPING)


def guarded(action: Callable[[], Any]) -> int:
    """Run *action* and give the exit status; an exception becomes one line on stderr.

    An integer that *action* returns is the exit status, anything else is success.
    """
    try:
        result = action()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as bare:
        click.echo(bare.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as wrong:
        where = wrong.ctx.command_path if wrong.ctx is not None else "vfioccw"
        said = wrong.format_message().rstrip(".")
        complain(f"{said}{' See' if said.endswith('?') else '; see'} {where} --help")
        return EXIT_USAGE
    except click.ClickException as failed:
        complain(failed.format_message())
        return EXIT_FAILURE
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except UserError as failed:
        complain(failed.message)
        return EXIT_FAILURE
    except OSError as failed:
        if failed.filename is None and _cannot_be_printed(failed):
            failed.filename = "stdout"
            _print_no_more()
        complain(in_words(failed))
        return EXIT_FAILURE
    except Exception as unforeseen:
        if os.environ.get("VFIOCCW_TRACEBACK"):
            raise
        complain(
            f"{type(unforeseen).__name__}: {unforeseen}; this is a bug in vfioccw: "
            "run it again with VFIOCCW_TRACEBACK=1 and report what it shows"
        )
        return EXIT_FAILURE
    return result if type(result) is int else EXIT_OK


def _print_no_more() -> None:
    """Let nothing come of what is still to be printed: Python flushes stdout once more."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _cannot_be_printed(failed: OSError) -> bool:
    """Whether *failed* is about stdout: click could not print, or something is still to be."""
    try:
        sys.stdout.flush()
    except OSError as again:
        return again.errno == failed.errno
    trace = failed.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is click.echo.__code__


def complain(message: str) -> None:
    """Write `vfioccw: message` to stderr as one line."""
    click.echo(f"vfioccw: {printable(' '.join(message.split()))}", err=True)


_REMEDIES = {
    errno.ENOTCONN: "the server of this mount is gone; run vfioccw umount, then mount it again",
    errno.ECONNABORTED: "the server of this mount is gone; see vfioccw ls",
    errno.ENODEV: "the subchannel is gone, or its mount is ending; see vfioccw ls",
    errno.ENOSPC: "free some space",
}
"""errno of a system call on any file -> what to do."""
_MOUNT_REMEDIES = {
    errno.ENOENT: "is it mounted? vfioccw mount makes it, vfioccw ls lists it",
    errno.ENOTDIR: "name the directory of a mount or of a subchannel, such as MNT/0.0.0313",
    errno.EACCES: "a mount belongs to the user who made it; run this as that user",
    errno.EPERM: "a mount belongs to the user who made it; run this as that user",
}
"""The same for a file of a mount."""


def in_words(error: OSError) -> str:
    """Give one line for *error*: the file, what went wrong and, where it is known, the remedy."""
    words = reason(error).strip()
    words = words[0].lower() + words[1:] if words[1:2].islower() else words
    line = f"{os.fsdecode(error.filename)}: {words}" if error.filename is not None else words
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{line}; {remedy}" if remedy else line


@contextlib.contextmanager
def asking_the_mount() -> Iterator[None]:
    """Make a UserError with the remedy of an OSError which says that there is no such mount."""
    try:
        yield
    except OSError as failed:
        if failed.errno not in _MOUNT_REMEDIES:
            raise
        raise UserError(f"{in_words(failed)}; {_MOUNT_REMEDIES[failed.errno]}") from None


def _say_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Print the version, and whether the hot modules run compiled, and end."""
    if wanted and not ctx.resilient_parsing:
        click.echo(f"vfioccw {__version__} ({compiled.how()})")
        ctx.exit()


@click.command(
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself with examples: vfioccw COMMAND --help. "
    "The manual: vfioccw help",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_say_version,
              help="Show the version, and whether it runs compiled or from source.")
def main() -> None:
    """s390 I/O subchannels without a mainframe.

    A mount shows simulated devices as vfio-ccw subchannels: directories of region files that a
    client (dd, a program, QEMU) drives with real channel programs.

    \b
    A first round:
      vfioccw image create fba disk.img --size 64MiB
      mkdir /tmp/m
      vfioccw mount /tmp/m --device fba@0.0.0313:disk.img
      vfioccw ls /tmp/m
      vfioccw ssch /tmp/m/0.0.0313 --ccw sense-id,sli,20
      vfioccw umount /tmp/m
    """
