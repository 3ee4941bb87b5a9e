"""`vfioccw run`: a scenario on the channel subsystem, without a mount."""

import gzip
import io
import json
import os
import sys
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from ..errors import UserError, shortened
from . import EXIT_FAILURE, EXIT_OK
from .asjson import json_option, show_json
from .debug import converse, within_option
from .debug.link import Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ..scenario.debugging import DebuggerPipes

Json = dict[str, Any]

LARGEST = 32 << 20
"""Most bytes of a file of scenarios, unpacked: what they become in memory is many times that."""
_DEEPEST = 16  # levels of lists and objects: a scenario has six
_ORDER = ("agreed", "single", "disputed", "suspect")


@click.command(name="run")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where images.json and the media are; by default beside FILE, in it or in images/.",
)
@click.option("--check", is_flag=True, help="Compare with the recorded values, print a summary.")
@click.option("--trace", is_flag=True, help="Show every step, CCW and interruption on stderr.")
@click.option("--debug", is_flag=True, help="Execute its channel programs CCW by CCW.")
@within_option
@json_option
def run_command(
    file: str,
    images: str | None,
    check: bool,
    trace: bool,
    debug: bool,
    within: float,
    as_json: bool,
) -> int:
    """Run the scenario FILE (JSON or gzipped JSON, - for stdin) and print what happened.

    A scenario names a device, the contents of storage and the steps of a program: ssch, hsch, csch,
    rsch, xsch, msch, stsch, tsch, store, wait, delay. The result is the same JSON with condition
    codes, IRBs, SCHIBs and interruptions, and what storage and medium were afterwards. A list of
    scenarios gives a list. Every scenario has a fresh copy of its medium. With --check and --json
    it is the summary that is JSON.

    With --debug its programs stop as those of a mount do by vfioccw debug, and so does the scenario
    meanwhile. The result is not printed then, unless --check compares it.

    \b
    Examples:
      vfioccw run tests/vectors/tic.json.gz --check
      vfioccw run - --trace <scenario.json
      vfioccw run scenario.json --debug
    """
    import trio

    from ..scenario.check import differences, is_recorded
    from ..scenario.run import MALFORMED, Images, run_scenario

    if debug and file == "-":
        raise click.UsageError("--debug takes its commands from stdin; name a file")
    loaded = _load(file)
    several = isinstance(loaded, list)
    sources: list[Json] = loaded if several else [loaded]
    if not all(isinstance(source, dict) for source in sources):
        raise UserError(f"{file}: a scenario is a JSON object, or a list of them")
    shelf = Images(images if images is not None else _images_beside(file))
    say: Callable[[str], None] | None = (lambda line: click.echo(line, err=True)) if trace else None

    async def run_all(pipes: "DebuggerPipes | None" = None) -> list[Json]:
        results = []
        for source in sources:
            if say is not None:
                say(f"-- {source.get('name', 'scenario')}")
            results.append(await run_scenario(source, shelf, say, pipes))
        return results

    results = _debugged(run_all, within, as_json=as_json) if debug else trio.run(run_all)
    if not check and debug:
        return EXIT_OK
    if not check:
        show_json(results if several else results[0])
        return EXIT_OK
    checked = []
    for source, result in zip(sources, results, strict=True):
        name = shortened(str(source.get("name", "?")))
        if not is_recorded(source):
            raise UserError(f"{file}: {name} has no recorded values to compare with")
        try:
            checked.append((source, differences(source, result)))
        except MALFORMED as error:
            what = shortened(f"{type(error).__name__} {error}")
            raise UserError(f"{file}: {name}: its recorded values are none: {what}") from None
    return _tell(checked) if as_json else _summary(checked)


def _debugged(
    run_all: "Callable[[DebuggerPipes], Awaitable[list[Json]]]", within: float, *, as_json: bool
) -> list[Json]:
    """What *run_all* gives, which runs in a thread while somebody debugs it here."""
    import trio

    from ..scenario.debugging import DebuggerPipes

    requests, ask = os.pipe()
    events, tell = os.pipe()
    pipes = DebuggerPipes(requests, tell)

    async def run() -> list[Json]:
        try:
            return await run_all(pipes)
        finally:
            pipes.tell({"event": "over"})
            os.close(tell)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(trio.run, run)
        converse(Link(ask, events), within, as_json=as_json)
    os.close(requests)
    return running.result()


def _load(file: str) -> Any:
    """The JSON of FILE; UserError if it cannot be read."""
    try:
        if file == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(file, "rb") as opened:
                data = opened.read(LARGEST + 1)
        if data[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(data)) as packed:
                data = packed.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UserError(f"{file}: more than {LARGEST >> 20} MiB; split it into several files")
        loaded = json.loads(data)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; give a scenario, or - for stdin") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: {error}; give a scenario, or - for stdin") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON: {shortened(str(error))}") from None
    level = [loaded]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise UserError(f"{file}: not a scenario: it has more than {_DEEPEST} levels")
    return loaded


def _inside(value: Any) -> "Iterable[Any]":
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _images_beside(file: str) -> str:
    """The directory of media that belongs to FILE."""
    folder = "." if file == "-" else os.path.dirname(file) or "."
    inner = os.path.join(folder, "images")
    return inner if os.path.exists(os.path.join(inner, "images.json")) else folder


def _outcome(checked: list[tuple[Json, list[str]]]) -> tuple[int, int]:
    """How many failed, and how many differ whose recordings are suspect."""
    failed = sum(1 for s, found in checked if found and s.get("confidence", "agreed") != "suspect")
    return failed, sum(1 for s, found in checked if found) - failed


def _tell(checked: list[tuple[Json, list[str]]]) -> int:
    """Print everything that was compared, for programs."""
    failed, suspects = _outcome(checked)
    scenarios = [
        {
            **{key: source.get(key) for key in ("name", "group", "confidence")},
            "differences": found,
        }
        for source, found in checked
    ]
    show_json({"scenarios": scenarios, "failed": failed, "suspects_that_differ": suspects})
    return EXIT_FAILURE if failed else EXIT_OK


def _summary(checked: list[tuple[Json, list[str]]]) -> int:
    """Print passes by group and confidence, then each failure's first difference."""
    from rich.table import Table

    from .output import show_table

    total: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    for source, found in checked:
        key = (str(source.get("group", "-")), str(source.get("confidence", "-")))
        total[key] += 1
        passed[key] += not found
    columns = [c for c in (*_ORDER, "-") if any(key[1] == c for key in total)]
    table = Table(box=None, pad_edge=False)
    table.add_column("group")
    for column in columns:
        table.add_column(column, justify="right")
    for group in dict.fromkeys(key[0] for key in total):
        table.add_row(group, *(_share(passed, total, (group, column)) for column in columns))
    show_table(table)
    for source, found in checked:
        if found:
            print(f"{source.get('name', '?')} ({source.get('confidence', '-')}): {found[0]}")
    failed, suspects = _outcome(checked)
    print(f"{len(checked)} scenarios, {failed} failed, {suspects} suspects differ")
    return EXIT_FAILURE if failed else EXIT_OK


def _share(passed: "Counter[Any]", total: "Counter[Any]", key: tuple[str, str]) -> str:
    return f"{passed[key]}/{total[key]}" if total[key] else ""
