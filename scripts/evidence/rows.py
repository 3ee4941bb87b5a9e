"""The 14 rows: what one types to see each, and what must be seen.

The lines are for bash, as `evidence.table` says; the page `thread` shows them. What must be seen
are regular expressions, which the output of the lines has to match one after the other.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Row(NamedTuple):
    """One row of the table."""

    title: str
    """What the thread asks for, in brief."""
    lines: tuple[str, ...]
    """What is typed; a line that fails ends the row, so one that must fail begins with !."""
    wanted: tuple[str, ...]
    """What the output must match, in this order."""
    options: tuple[str, ...] = ()
    """Options of the FBA disk 0.0.0313."""
    interface: str = "full"
    """The interface of the mount."""
    eckd: bool = False
    """A 3390 is there as 0.0.0314."""


_HANG = "echo fault=hang > $S/control"
_NOP = "put 0x2000 03200001_00000000"
_ORB = "00000000_0080ff00_00002000"
_ZERO = "00000000_00000000"

ROWS: Final[Mapping[int, Row]] = {
    1: Row(
        "every I/O instruction, HSCH beside SSCH and CSCH",
        (
            "vfioccw ssch $S --ccw nop --no-wait",
            "vfioccw tsch $S | head -1",
            "vfioccw hsch $S | head -1",
            "vfioccw csch $S | head -1",
            "vfioccw msch $S --intparm 0x1234 | head -1",
            "vfioccw stsch $S | grep intparm",
            "put 0x2000 03600001_00000000_03220001_00000000",
            "vfioccw ssch $S --orb 00000000_0880ff00_00002000 --no-wait",
            "vfioccw tsch $S | head -1",
            "put 0x2008 03200001_00000000",
            "vfioccw rsch $S",
            "vfioccw tsch $S | head -1",
            "echo delay=600s > $S/control",
            "vfioccw ssch $S --ccw nop --no-wait",
            "vfioccw xsch $S",
        ),
        (
            "^ssch: cc 0",
            "^interruption: start function.*channel end, device end",
            "^hsch: cc 0",
            "^csch: cc 0",
            "^msch: cc 0",
            "00001234",
            "^ssch: cc 0",
            "suspended",
            "^rsch: cc 0",
            "channel end, device end",
            "^xsch: cc 0",
        ),
    ),
    2: Row(
        "halt and clear through fctl; clear before halt before start; one function a write",
        (
            _HANG,
            _NOP,
            f"request {_ORB} 00004000_{_ZERO}",
            f"request {_ORB} 00007000_{_ZERO}",
            "grep -E '^(starts|halts|clears)' $S/state",
            "vfioccw tsch $S | head -1",
            f"request {_ORB} 00004000_{_ZERO}",
            f"request {_ORB} 00006000_{_ZERO}",
            "vfioccw tsch $S | head -1",
            f"request {_ORB} 00004000_{_ZERO}",
            f"! request {_ORB} 00004000_{_ZERO}",
            "echo fault=not-operational > $S/control",
            f"! request {_ORB} 00002000_{_ZERO}",
        ),
        (
            "starts: 1\nhalts: 0\nclears: 1",
            "^interruption: clear function; status pending",
            "^interruption: start function, halt function; status pending",
            "Device or resource busy",
            "No such device",
        ),
        interface="scsw",
    ),
    3: Row(
        "an old kernel answers EOPNOTSUPP, and a client finds out by trying",
        (
            "ls $S",
            f"! request {_ORB} 00002000_{_ZERO}",
            f"! request {_ORB} 00001000_{_ZERO}",
            "! vfioccw hsch $S",
            "python -m evidence.interfaces $S | grep -E '^  (start|halt|clear)'",
        ),
        (
            "io_region",
            "Operation not supported",
            "Operation not supported",
            "hsch: the interface of this subchannel has none",
            "start +by trying +unit status 0c",
            "halt by fctl +by trying +EOPNOTSUPP",
            "clear by fctl +by trying +EOPNOTSUPP",
        ),
        interface="start-only",
    ),
    4: Row(
        "a start's interrupt brings the program's SCSW; a halt's only the IRB; then the event",
        (
            "vfioccw ssch $S --ccw nop --ccw sense-id,sli,20 --no-wait",
            "head -c 8 $S/io_irq | xxd -p",
            "tail -c +25 $S/io_region | head -c 12 | xxd -p",
            "grep ^fsm $S/state",
            "vfioccw hsch $S --no-wait",
            "head -c 8 $S/io_irq | xxd -p",
            "tail -c +25 $S/io_region | head -c 12 | xxd -p",
        ),
        (
            "^ssch: cc 0",
            "^0100000000000000",
            "^00c0400700010010" + "0c00000d",
            "fsm: IDLE",
            "^hsch: cc 0",
            "^0100000000000000",
            "^[0-9a-f]{4}2001[0-9a-f]{8}00000000",
        ),
    ),
    5: Row(
        "status pending (cc 1) and busy (cc 2) are both EBUSY, and told apart",
        (
            _HANG,
            _NOP,
            f"request {_ORB} 00004000_{_ZERO}",
            f"! request {_ORB} 00004000_{_ZERO}",
            "xxd -s 5 -l 1 -p $S/status_region",
            "vfioccw hsch $S --no-wait; head -c 8 $S/io_irq | xxd -p",
            f"! request {_ORB} 00004000_{_ZERO}",
            "xxd -s 5 -l 1 -p $S/status_region",
            "grep ^ebusy $S/state",
        ),
        (
            "Device or resource busy",
            "^02",
            "^hsch: cc 0",
            "Device or resource busy",
            "^01",
            "ebusy_status_pending: 1\nebusy_busy: 1",
        ),
    ),
    6: Row(
        "four SCSWs: guest, client, region, hardware",
        ("python -m evidence.four_scsws $S",),
        (
            r"scsw\(g\)  0000  idle\n  scsw\(q\)  4400 .*\n  scsw\(r\)  4400 .*\n"
            r"  scsw\(h\)  40c0  start function; subchannel active, device active",
            r"scsw\(g\)  4400 .*\n  scsw\(q\)  6600 .*\n  scsw\(r\)  6600 .*\n"
            r"  scsw\(h\)  0000",
            r"scsw\(g\)  0000 .*\n  scsw\(q\)  0000 .*\n  scsw\(r\)  6600 .*\n  scsw\(h\)  0000",
        ),
        interface="scsw",
    ),
    7: Row(
        "asynchronous; halt and clear overtake; a second start is refused, not queued",
        (
            "echo delay=600s > $S/control",
            "SECONDS=0; vfioccw ssch $S --ccw nop --no-wait; ((SECONDS < 60))",
            "grep -E '^(fsm|scsw.actl)' $S/state",
            "! vfioccw ssch $S --ccw nop --no-wait",
            "vfioccw hsch $S | head -2 | cut -c-80",
            "vfioccw ssch $S --ccw nop --no-wait",
            "vfioccw hsch $S --no-wait",
            "vfioccw csch $S | head -2 | cut -c-80",
            "grep -E '^(fsm|starts|interruptions_queued)' $S/state",
        ),
        (
            "^ssch: cc 0",
            "fsm: CP_PENDING",
            "start pending",
            "^ssch: cc 2",
            "^hsch: cc 0",
            "start function, halt function; status pending",
            "^ssch: cc 0",
            "^hsch: cc 0",
            "^csch: cc 0",
            "ms: clear function; status pending",
            "fsm: IDLE",
            "interruptions_queued: 0\nstarts: 2",
        ),
    ),
    8: Row(
        "cancel is synchronous and no function bit; resume, paths and measurement fit too",
        (
            "echo delay=600s > $S/control",
            "vfioccw ssch $S --ccw nop --no-wait",
            "vfioccw xsch $S",
            "grep -E '^(fsm|scsw:|io_irq.signals)' $S/state",
            "! vfioccw rsch $S",
            "vfioccw chp off $M 40",
            "xxd -p $S/crw_region",
            "vfioccw chp on $M 40",
            "xxd -p $S/crw_region",
            "vfioccw stsch $S | grep -E 'pim|pam|lpm'",
            "xxd -s 8 -l 4 -e $S/measurement_region",
        ),
        (
            "^xsch: cc 0",
            "fsm: IDLE\nscsw: ....0000",
            "io_irq.signals: 0",
            "^rsch: cc 2",
            "^0604400000000000",
            "^0204400000000000",
            "pam +c0",
            "00000001",
        ),
    ),
    9: Row(
        "way 1: the io_region is a command while written, a status at interrupts",
        (
            _NOP,
            f"request {_ORB} 00004000_{_ZERO}",
            "head -c 8 $S/io_irq | xxd -p",
            "head -c 24 $S/io_region | xxd -p",
            "tail -c +25 $S/io_region | head -c 12 | xxd -p",
            "ls $S | tr '\\n' ' '",
        ),
        (
            "^000000000080ff0000002000000040000000000000000000",
            "^00804007000020080c000001",
            "control device device_info io_irq io_region irq_info memory",
        ),
        interface="scsw",
    ),
    10: Row(
        "way 2: a capability chain; status, command, program and measurement regions",
        (
            "xxd -l 16 $S/status_region",
            "echo delay=600s > $S/control",
            "xxd -r -p <<<e4200014_00000040 | dd of=$S/program_region bs=1 seek=16 status=none",
            "xxd -r -p <<<20000000 > $S/cmd_region",
            "xxd -s 4 -l 1 -p $S/program_region",
            "xxd -r -p <<<e4200014_00000080 | dd of=$S/program_region bs=1 seek=512 status=none",
            "! xxd -r -p <<<03 | dd of=$S/program_region bs=1 seek=16 status=none",
            "vfioccw csch $S --no-wait; vfioccw tsch $S | head -1; echo delay=0s > $S/control",
            "xxd -r -p <<<40000000 > $S/cmd_region; vfioccw tsch $S | head -1",
            "xxd -s $((512 + 128)) -l 7 -p $S/program_region",
            "xxd -s 8 -l 8 -e $S/measurement_region",
            "python -m evidence.interfaces $S | grep 'by capability'",
        ),
        (
            "0100 8000",
            "^01",
            "Device or resource busy",
            "clear function",
            "channel end, device end",
            "^ff631001933600",
            "00000002 00000001",
            "status_region +by capability +index 4, 128 bytes, ro, type 2 subtype 0x100",
            "program_region.*rw, type 2 subtype 0x101",
            "measurement_region.*ro, type 2 subtype 0x102",
        ),
    ),
    11: Row(
        "no window in which two requests see the same state",
        (
            "echo delay=600s > $S/control; " + _NOP,
            "for i in {1..40}; do (request "
            + f"{_ORB} 00004000_{_ZERO}"
            + " 2>/dev/null && echo accepted || echo refused) & done | sort | uniq -c; wait",
            "grep -E '^(starts|ebusy)' $S/state",
            "vfioccw csch $S | head -1",
        ),
        (
            "^ +1 accepted\n +39 refused",
            "starts: 1\nebusy_status_pending: 0\nebusy_busy: 39",
            "^csch: cc 0",
        ),
    ),
    12: Row(
        "the client: EAGAIN loop, condition code from errno, scsw(q) right on failure too",
        ("python -m evidence.client $S",),
        (
            "ssch: cc 0, scsw.q. start function; start pending",
            "second ssch: EBUSY is cc 2, scsw.q. is as before",
            "not operational: ENODEV is cc 3, scsw.q. is as before",
            "EAGAIN twice, made up here: sent 3 times, cc 0",
        ),
    ),
    13: Row(
        "documentation: regions, fields, commands and errnos are all named",
        ("python -m evidence.documented $S",),
        (
            r"infos of a subchannel: \d+ looked for",
            r"fields of regions and infos: \d+ looked for",
            r"commands and errnos: \d+ looked for",
            "not named: 0",
        ),
    ),
    14: Row(
        "the to-do page: changing programs, 2K IDAWs, TIC loops, keys, MSCH, paths; rest: 1, 8, 10",
        (
            "python -m evidence.changing $S",
            "vfioccw ssch $S --idaw 1 --ccw define-extent,=40000200000000000000000000000007 "
            "--ccw locate,=0600000800000000 --ccw read,ida,4096 | grep -E 'IDAW|read 4096'",
            "vfioccw ssch $M/0.0.0314 --ccw seek,=000000000000 --ccw search-id-equal,=0000000003 "
            "--ccw tic,#2 --ccw read-data,sli,80 | grep -E 'interruption|read 80|e5d6d3f1'",
            "vfioccw ssch $S --key 9 --ccw nop | grep -iE 'key|interruption' | cut -c-60",
            "vfioccw msch $S --lpm 0x40 | grep -E 'msch|lpm'",
            "vfioccw chp vary-off $M 40; vfioccw ssch $S --ccw nop | grep -o '; path ..'",
            "! vfioccw ssch $S --lpm 0x80 --ccw nop",
            "vfioccw chp list $M",
        ),
        (
            "changed while it ran: channel end, device end",
            "read 4096 bytes",
            "channel end, device end",
            "read 80 bytes",
            "9",
            "^msch: cc 0",
            "lpm +40",
            "path 40",
            "cc 3",
            "40 +varied off",
        ),
        eckd=True,
    ),
}
"""The rows by their number in the table."""
