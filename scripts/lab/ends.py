"""How a script of this tree ends: with a line, never with a traceback."""

import os
import sys
from collections.abc import Callable

from vfioccw_fuse.client import ClientError
from vfioccw_fuse.errors import UserError, reason


def ended(name: str, main: Callable[[], int]) -> int:
    """Run *main* of the script *name*; gives the exit status.

    A wait of `lab` that was in vain is an AssertionError, which names what did not come true. 130
    at Ctrl-C; 0 when the reader of stdout has gone.
    """
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # also what --help says, which ends by SystemExit
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes stdout once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as failed:
        where = f"{os.fsdecode(failed.filename)}: " if failed.filename is not None else ""
        wrong = f"{where}{reason(failed)}"
    except (ClientError, UserError, AssertionError) as failed:
        wrong = str(failed)
    print(f"{name}: {' '.join(wrong.split())}", file=sys.stderr)
    return 1
