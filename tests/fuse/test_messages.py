"""Whatever comes as a message to `irqfd` gets an answer, and the mount goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.client import Connection
from lab.mounts import SCHID, MountedSystem, mounted


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedSystem]:
    with mounted(tmp_path_factory.mktemp("messages")) as system:
        yield system


@pytest.fixture
def connection(system: MountedSystem) -> Iterator[Connection]:
    made = Connection(system.path)
    yield made
    made.close()


def deep(levels: int) -> bytes:
    return b'{"subchannel": ' + b"[" * levels + b"]" * levels + b', "irq": 0}'


@pytest.mark.parametrize(
    "message",
    [
        b'{"subchannel": "0.0.0313", "irq": 1e400}',
        b'{"subchannel": "0.0.0313", "irq": NaN}',
        b'{"subchannel": "0.0.0313", "irq": ' + b"9" * 4000 + b"}",
        b'{"subchannel": "0.0.0313", "irq": 0, "irq": 0}',
        b'{"subchannel": "\\ud800", "irq": 0}',
        b'{"subchannel": "0.0.0313\\u0000", "irq": 0}',
        b'{"do": "add", "device": "fba@0.0.0400:/\\ud800"}',
        b'{"do": "add", "device": "fba@0.0.0400:/\\u0000"}',
        b'{"do": "add", "device": "fba@0.0.0400:/none,delay=' + b"9" * 4000 + b's"}',
        b'{"do": "remove", "subchannel": "\\ud800"}',
        b'{"do": "chp", "more": 1}',
        deep(500),
        deep(2000),
    ],
    ids=range(13),
)
def test_a_message_that_is_odd_is_an_error(connection: Connection, message: bytes) -> None:
    assert list(connection.send(message)) == ["error"]
    assert connection.irq() == {"ok": True}


words = st.sampled_from(
    [
        *("subchannel", "irq", "map", "unmap", "do", "add", "chp", "chpid", "state", "iova"),
        *("size", "offset", "vaddr", SCHID, "0.0.0999", "device", "fba@0.0.0400:/none", "40", "ff"),
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 1 << 65)
    | st.sampled_from([0, 4096])
    | st.floats()
    | words
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=100) | values.map(lambda value: json.dumps(value).encode()))
def test_any_message_gets_its_answer(connection: Connection, message: bytes) -> None:
    answer = connection.send(message[:4096])
    assert answer.get("ok") is True or isinstance(answer["error"], str)
    assert "failed, see the log" not in answer.get("error", "")


def test_a_client_that_hangs_up_at_once_is_nothing(system: MountedSystem) -> None:
    for data in (b"", b"{", b"{}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(system.socket))
            if data:
                client.send(data)
    system.until_nobody_is_connected()
    assert not system.ended(0)
