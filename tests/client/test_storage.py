"""Room in guest storage: reserved by one, free again when its holder lets go or dies."""

import subprocess
import sys

import pytest

from vfioccw_fuse.client import GuestStorage

SIZE = 1 << 20
FIRST = 0x10000


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "memory"
    path.write_bytes(bytes(SIZE))
    return path


def test_areas_of_one_client_do_not_overlap(path):
    storage = GuestStorage(path)
    with storage.reserve(5000) as first, storage.reserve(1) as second:
        assert (first.address, first.size) == (FIRST, 8192)
        assert (second.address, second.size) == (FIRST + 8192, 4096)


def test_areas_of_two_clients_do_not_overlap(path):
    mine, other = GuestStorage(path), GuestStorage(path)
    with mine.reserve(4096) as first, other.reserve(4096) as second:
        assert second.address == first.address + first.size


def test_a_reservation_ends_with_its_holder(path):
    code = (
        "import sys, os; from vfioccw_fuse.client import GuestStorage\n"
        "print(GuestStorage(sys.argv[1]).reserve(4096).address, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert int(other.stdout.readline()) == FIRST
        with GuestStorage(path).reserve(1) as area:
            assert area.address == FIRST + 4096
        other.kill()
        other.wait()
    with GuestStorage(path).reserve(1) as area:
        assert area.address == FIRST


def test_room_that_was_given_back_is_found_again(path):
    storage = GuestStorage(path)
    area = storage.reserve(4096)
    area.release()
    area.release()
    assert storage.reserve(4096).address == FIRST


def test_low_storage_is_used_last(path):
    storage = GuestStorage(path)
    storage.reserve(SIZE - FIRST)
    assert storage.reserve(4096).address == 0


def test_no_room_is_a_memory_error(path):
    storage = GuestStorage(path)
    with pytest.raises(MemoryError, match="--memory"):
        storage.reserve(SIZE + 1)
    storage.reserve(4096)


def test_it_is_shared_memory(path):
    storage = GuestStorage(path)
    with storage.reserve(4096) as area:
        area.view[:4] = b"here"
        assert path.read_bytes()[area.address : area.address + 4] == b"here"


def test_closing_leaves_views_alive(path):
    storage = GuestStorage(path)
    view = storage.view[:4]
    storage.close()
    storage.close()
    assert bytes(view) == bytes(4)
