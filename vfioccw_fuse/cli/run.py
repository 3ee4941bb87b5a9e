"""`vfioccw run`: a scenario on the channel subsystem, without a mount."""

import gzip
import io
import json
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from ..errors import UserError, shortened
from . import EXIT_OK
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


def _print_schema(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from ..scenario.schema import SCHEMA

        show_json(SCHEMA)
        context.exit()


@click.command(name="run")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where images.json and the media are; by default beside FILE, or in images/ there.",
)
@click.option("--check", is_flag=True, help="Compare with the recorded values, print a summary.")
@click.option("-v", "--verbose", is_flag=True, help="With --check: all that differs.")
@click.option("--trace", is_flag=True, help="Show every step, CCW and interruption on stderr.")
@click.option("--debug", is_flag=True, help="Execute its channel programs CCW by CCW.")
@within_option
@json_option
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_schema,
    help="Print the JSON schema of FILE, for editors.",
)
def run_command(
    file: str,
    images: str | None,
    check: bool,
    verbose: bool,
    trace: bool,
    debug: bool,
    within: float,
    as_json: bool,
) -> int:
    """Run the scenario FILE (JSON or gzipped JSON, - for stdin) and print what happened.

    A scenario names a device and the steps of a program: ssch, hsch, csch, rsch, xsch, msch, stsch,
    tsch, store, wait, delay. The result is the same JSON with condition codes, IRBs, SCHIBs and
    interruptions, and what storage and medium were afterwards. A list of scenarios gives a list.

    An ssch has an ORB (orb), or CCWs as vfioccw ssch --ccw takes them (ccws), which are laid out in
    storage from 0x10000 on; what they have read is in the result, with the tsch that ended them.
    The image of a device is a file beside FILE (or in DIR), or a name in images.json there. Every
    scenario has a fresh copy of it.

    With --check the results are compared with the values that FILE has recorded, as every result
    has them. With --json it is the summary that is JSON.

    With --debug its programs stop as those of a mount do by vfioccw debug, and so does the scenario
    meanwhile. The result is not printed then, unless --check compares it.

    \b
    A scenario:
      {"device": {"type": "fba", "image": "disk.img"},
       "steps": [{"op": "ssch", "ccws": ["sense-id,sli,20"]}, {"op": "wait"}, {"op": "tsch"}]}

    \b
    Examples:
      vfioccw run scenario.json
      vfioccw run --schema >scenario.schema.json
      vfioccw run tests/vectors/tic.json.gz --check
      vfioccw run - --trace <scenario.json
      vfioccw run scenario.json --debug
    """
    import trio

    from ..scenario.check import differences, is_recorded
    from ..scenario.images import Images
    from ..scenario.run import run_scenario
    from ..scenario.schema import check as check_schema
    from ..scenario.schema import label
    from .sceneprograms import programs_of
    from .verdicts import show_verdicts, tell_verdicts

    if debug and file == "-":
        raise click.UsageError("--debug takes its commands from stdin; name a file")
    loaded = _load(file)
    check_schema(file, loaded)
    several = isinstance(loaded, list)
    sources: list[Json] = loaded if several else [loaded]
    labels = [label(file, source, at if several else None) for at, source in enumerate(sources)]
    if check:
        for source, called in zip(sources, labels, strict=True):
            if not is_recorded(source):
                raise UserError(
                    f"{called}: no recorded values to compare with; run it without --check, which "
                    "prints them"
                )
    shelf = Images(*([images] if images is not None else _images_beside(file)))
    say: Callable[[str], None] | None = (lambda line: click.echo(line, err=True)) if trace else None

    async def run_all(pipes: "DebuggerPipes | None" = None) -> list[Json]:
        results = []
        for source, called in zip(sources, labels, strict=True):
            if say is not None:
                say(f"-- {source.get('name', 'scenario')}")
            try:
                results.append(await run_scenario(source, shelf, say, pipes, programs_of))
            except UserError as wrong:
                raise UserError(f"{called}: {wrong.message}") from None
        return results

    results = _debugged(run_all, within, as_json=as_json) if debug else trio.run(run_all)
    if check:
        checked = [(s, differences(s, done)) for s, done in zip(sources, results, strict=True)]
        return tell_verdicts(checked) if as_json else show_verdicts(checked, verbose=verbose)
    if not debug:
        show_json(results if several else results[0])
    return EXIT_OK


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


def _images_beside(file: str) -> tuple[str, str]:
    """The directory of the `images.json` that belongs to FILE, and that of FILE itself."""
    folder = "." if file == "-" else os.path.dirname(file) or "."
    inner = os.path.join(folder, "images")
    return inner if os.path.exists(os.path.join(inner, "images.json")) else folder, folder
