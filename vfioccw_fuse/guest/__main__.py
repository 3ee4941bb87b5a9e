"""The command line of scripts/qemu-guest."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from . import GuestError
from .machine import Options, run_scenario, run_shell
from .parts import Parts

_EXAMPLES = """
examples:
  scripts/qemu-guest --device /tmp/m/0.0.0313,devno=fe.0.1234
  scripts/qemu-guest --device /tmp/m/0.0.0313 --script - <<< 'online 0.0.0313 && md5sum /dev/dasda'
  scripts/qemu-guest --fetch
  scripts/qemu-guest --fetch --source 'deb http://MIRROR/debian bookworm main'
"""


def main() -> int:
    """Do what the command line says; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/qemu-guest",
        description="Boots a small s390x Linux (Debian's kernel and busybox) in QEMU, with a shell "
        "on this terminal or a script to run. What it is made of is fetched once.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", action="append", default=[], metavar="SPEC",
                        help="a device of the guest, as vfioccw qemu takes it")  # fmt: skip
    parser.add_argument("--iommufd", action="store_true",
                        help="by iommufd, as vfioccw qemu --iommufd has it")  # fmt: skip
    parser.add_argument("--memory", default="512M", help="QEMU's -m (default: 512M)")
    parser.add_argument("--smp", type=int, default=1, help="processors (default: 1)")
    parser.add_argument("--tools", action="store_true",
                        help="with dasdfmt, fdasd, mkfs.ext4, e2fsck, fio")  # fmt: skip
    parser.add_argument("--script", metavar="FILE",
                        help="run this shell script in the guest (- is stdin), then end; the exit "
                        "status is the script's")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="show the kernel's messages")
    parser.add_argument("--fetch", action="store_true", help="only fetch what is missing")
    parser.add_argument("--source", action="append", default=[], metavar="LINE",
                        help="fetch from this archive, a line as in sources.list, instead of from "
                        "where this system's packages come; may be given many times")  # fmt: skip
    parser.add_argument("qemu", nargs="*", metavar="-- OPTION", help="further options of QEMU")
    words = parser.parse_args()
    # So that what was started ends, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    parts = Parts(sources=words.source)
    options = Options(
        devices=words.device, iommufd=words.iommufd, memory=words.memory, processors=words.smp,
        tools=words.tools, qemu=words.qemu, quiet=not words.verbose,
    )  # fmt: skip
    try:
        if words.fetch:
            for path in (parts.kernel(), parts.base(), parts.tools()):
                print(path)
            print(parts.kernel_name())
            return 0
        if words.script is None:
            return run_shell(options, parts)
        script = sys.stdin.read() if words.script == "-" else Path(words.script).read_text()
        return run_scenario(options, script, parts)
    except (GuestError, OSError) as error:
        print(f"scripts/qemu-guest: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
