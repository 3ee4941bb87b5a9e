"""The text of `control`: what it takes, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vfio.driver import Driver
from vfioccw_fuse.devices.faults import QUALIFIERS, Fault
from vfioccw_fuse.errors import UserError
from vfioccw_fuse.regions import constants as c
from vfioccw_fuse.vfio.control import CONTROL, Control


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("delay=1s order=little", "order=little: big or host"),
        ("delay=1s nonsense", "nonsense: no such option; one of address-limit, count"),
        ("delay=1s chpids=40", "chpids: no such option"),
        ("delay=1s unsolicited=100", "unsolicited=100: a unit status in hex"),
        ("delay=1s request=lunch", "request=lunch: only unplug"),
        ("delay=1s help=me", "help=me: takes no value"),
        ("delay", "delay=: a time such as 3s"),
        (f"delay=1s count={'0' * 5000}1", "count=0000"),
        (f"fault=hang delay={'9' * 5000}", "delay=9999"),
        (f"delay=1s address-limit={'9' * 5000}", "address-limit=9999"),
        ("delay=1s fault=hang+busy", "fault=hang+busy: busy never hits"),
        ("delay=1s fault=busy:rate=0", "fault=busy:rate=0: rate=0: more than 0"),
        ("delay=1s fault=busy:tracks=0", "fault=busy:tracks=0: fba 9336"),
        ("delay=1s fault=busy:blocks=64-", "fault=busy:blocks=64-: fba 9336"),
        ("delay=1s fault=busy:blocks=0-64", "fault=busy:blocks=0-64: fba 9336"),
        ("delay=1s unsolicited=٨٠", "unsolicited=٨٠: a unit status in hex"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_has_changed(
    driver: Driver, text: str, said: str
) -> None:
    control = Control(driver.ccw)
    before = control.text()
    with pytest.raises(UserError) as wrong:
        control.write(text)
    assert wrong.value.message.startswith(said)
    assert control.text() == f"{before}# refused: {wrong.value.message}\n"
    control.write(control.text())
    assert control.text() == before, "it can be written back, and is no refusal any more"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.builds("{}={}".format, st.sampled_from(list(CONTROL)), st.text())
        | st.sampled_from(["delay=1s", "fault=hang"])
        | st.text(),
        max_size=3,
    )
)
def test_any_text_is_obeyed_or_refused_and_nothing_has_changed(
    driver: Driver, words: list[str]
) -> None:
    control = Control(driver.ccw)
    control.write("")
    before = control.text()
    try:
        control.write(" ".join(words))
    except UserError:
        text, _, refused = control.text().partition("# refused: ")
        assert text == before
        assert refused.endswith("\n")


def test_what_it_shows_can_be_written_back(driver: Driver) -> None:
    control = Control(driver.ccw)
    control.write("delay=1us,fault=processing for=1s\ncount=2 csense address-limit=0x1000 # as is")
    shown = control.text()
    assert [rule.fault for rule in driver.sch.behaviour.faults] == [Fault.PROCESSING]
    assert "csense=on\n" in shown
    assert "for=1s\n" in shown
    control.write("delay=0 fault=none for=2s csense=off address-limit=0")
    control.write(shown)
    assert control.text() == shown


def test_an_unplug_is_requested_only_where_there_is_a_req_irq(each: Driver) -> None:
    has = c.VFIO_CCW_REQ_IRQ_INDEX in each.ccw.irqs
    control = Control(each.ccw)
    if has:
        control.write("request=unplug delay=1s")
        assert each.ccw.irqs[c.VFIO_CCW_REQ_IRQ_INDEX].statistics().signals == 1
    else:
        with pytest.raises(UserError, match="request=unplug: interface"):
            control.write("request=unplug delay=1s")
    assert bool(each.behaviour.delay) == has


def test_help_is_listed_once(driver: Driver) -> None:
    control = Control(driver.ccw)
    before = control.text()
    control.write("help")
    listed = control.text()
    assert listed.startswith(f"{before}# delay=TIME ")
    assert all(f"\n#   :{qualifier.usage} " in listed for qualifier in QUALIFIERS.values())
    assert control.text() == before
