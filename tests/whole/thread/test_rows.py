"""The 14 rows of the thread's table, one test each: what scripts/thread-table types and sees."""

import re
import subprocess

import pytest

from evidence.rows import ROWS
from lab.mounts import PROJECT

PAGE = (PROJECT / "vfioccw_fuse" / "docs" / "thread.md").read_text()
TABLE = dict(re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE))
"""The rows of the page's table by number."""


def works(row: int) -> str:
    """The row is executed on a mount of its own, and all that it has to show is seen; that."""
    done = subprocess.run(
        [PROJECT / "scripts" / "thread-table", str(row)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    heading, evidence, *_ = done.stdout.splitlines()
    assert heading.startswith(f"{row:2}  ")
    assert heading.endswith(": works")
    assert evidence.startswith("      $ ")
    assert not done.stderr
    return done.stdout


def test_row_1_every_instruction_is_there_hsch_beside_ssch_and_csch() -> None:
    works(1)


def test_row_2_fctl_clear_before_halt_before_start_one_function_a_write() -> None:
    works(2)


def test_row_3_old_kernels_answer_eopnotsupp_and_clients_detect_by_trying() -> None:
    works(3)


def test_row_4_a_starts_interrupt_has_the_programs_scsw_a_halts_only_the_irb() -> None:
    works(4)


def test_row_5_status_pending_and_busy_are_told_apart() -> None:
    works(5)


def test_row_6_four_scsws_and_the_hardwares_may_have_moved_on() -> None:
    shown = works(6)
    [walk] = re.findall("^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert "".join(f"      {line}\n" for line in walk.splitlines()) in shown


def test_row_7_asynchronous_and_halt_and_clear_overtake_a_second_start_is_refused() -> None:
    works(7)


def test_row_8_cancel_resume_paths_and_measurement_fit_too() -> None:
    works(8)


def test_row_9_way_1_command_while_written_status_at_interrupts() -> None:
    works(9)


def test_row_10_way_2_capability_chain_and_four_regions() -> None:
    works(10)


def test_row_11_no_two_requests_see_the_same_state() -> None:
    works(11)


def test_row_12_the_clients_eagain_loop_errno_mapping_and_scsw_q() -> None:
    works(12)


def test_row_13_regions_fields_commands_and_errnos_are_all_named_in_the_documentation() -> None:
    works(13)


def test_row_14_the_to_do_page() -> None:
    works(14)


@pytest.mark.parametrize("row", ROWS)
def test_what_the_page_says_is_to_be_typed_is_what_the_row_types(row: int) -> None:
    _, what, _ = re.split(r"(?<!\\)\|", TABLE[str(row)])
    commands = [one for code in re.findall("`(.*?)`", what) for one in code.split("; ")]
    typed = "\n".join(ROWS[row].lines)
    for command in commands:
        assert not re.search(r"\$[SM]", command) or command.replace("\\|", "|") in typed
