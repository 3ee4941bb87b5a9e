"""Storage that a client gives: where it lies, what replaces what, and when it ends."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct

import pytest

from lab.mounts import BLOCK
from lab.processes import cpu_time
from lab.programs import FORMAT1, ccw
from lab.waits import until
from tests.vfio.iommu.conftest import (
    DATA,
    FETCHED_IDAW64,
    PAGE,
    PARAMETERS,
    PROGRAM,
    Disk,
    Storage,
    reading,
)
from vfioccw_fuse.vfio.iommu import RELEASED_AT_ONCE

GIB = 1 << 30


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_a_clients_file_is_the_storage(disk: Disk, storage: Storage) -> None:
    assert not disk.connect().map_file(storage.fd, storage.size)
    storage.put_reading(3)
    assert disk.run().dstat == 0x0C
    assert storage.get(DATA) == disk.block(3)
    assert storage.get(DATA + BLOCK) == bytes(BLOCK)
    assert storage.get(DATA - BLOCK) == bytes(BLOCK)


def test_an_offset_in_the_file_is_where_the_map_begins(disk: Disk, storage: Storage) -> None:
    assert not disk.connect().map_file(storage.fd, 0x8000, offset=0x10000)
    storage.put_reading(4, at=0x10000)
    assert disk.run().dstat == 0x0C
    assert storage.get(0x10000 + DATA) == disk.block(4)
    assert not any(storage.get(0, 0x10000))


def test_writing_takes_from_the_clients_file(disk: Disk, storage: Storage) -> None:
    assert not disk.connect().map_file(storage.fd, storage.size)
    storage.put(DATA, b"written " * 64)
    storage.put_reading(9, command=0x41, operation=1)
    assert disk.run().dstat == 0x0C
    assert disk.block(9) == b"written " * 64


def test_the_first_map_replaces_the_built_in_storage(disk: Disk, storage: Storage) -> None:
    connection = disk.connect()
    assert not connection.map_file(storage.fd, storage.size, iova=1 << 20)
    with pytest.raises(OSError, match="Invalid argument") as caught:
        disk.start()
    assert caught.value.errno == errno.EINVAL
    storage.put_reading(5, base=1 << 20)
    assert disk.run((1 << 20) + PROGRAM).dstat == 0x0C
    assert storage.get(DATA) == disk.block(5)


def test_the_last_unmap_brings_the_built_in_storage_back(disk: Disk, storage: Storage) -> None:
    connection = disk.connect()
    assert not connection.map_file(storage.fd, 0x8000)
    assert not connection.map_file(storage.fd, 0x8000, iova=0x10000)
    assert not connection.unmap(0, 0x8000)
    assert not disk.built_in_works()
    assert not connection.unmap(0x10000, 0x8000)
    assert disk.built_in_works()


def test_maps_end_with_their_connection(disk: Disk, storage: Storage) -> None:
    before = descriptors(disk.system.pid)
    first, second = disk.connect(), disk.connect()
    assert not first.map_file(storage.fd, 0x8000)
    assert not second.map_file(storage.fd, 0x8000, iova=0x8000)
    first.close()
    until(lambda: descriptors(disk.system.pid) == before + 3, "one connection is left")
    assert not disk.built_in_works()
    second.close()
    until(lambda: descriptors(disk.system.pid) == before, "every descriptor is given back")
    assert disk.built_in_works()


def test_hundreds_of_maps_end_with_their_connection(disk: Disk, storage: Storage) -> None:
    before = descriptors(disk.system.pid)
    connection = disk.connect()
    for page in range(4 * RELEASED_AT_ONCE):
        assert not connection.map_file(storage.fd, PAGE, iova=page * PAGE)
    connection.close()
    until(lambda: descriptors(disk.system.pid) == before, "every descriptor is given back")
    assert disk.built_in_works()


def test_one_unmap_may_take_several_maps(disk: Disk, storage: Storage) -> None:
    connection = disk.connect()
    for page in range(3):
        assert not connection.map_file(storage.fd, PAGE, iova=page * PAGE, offset=page * PAGE)
    assert not connection.unmap(0, 3 * PAGE)
    assert disk.built_in_works()


def test_data_may_cross_from_one_map_into_the_next(disk: Disk, storage: Storage) -> None:
    connection = disk.connect()
    assert not connection.map_file(storage.fd, 0x8000)
    assert not connection.map_file(storage.fd, 0x8000, iova=0x8000, offset=0x40000)
    storage.put_reading(6, data=0x8000 - 100)
    assert disk.run().dstat == 0x0C
    assert storage.get(0x8000 - 100, 100) + storage.get(0x40000, BLOCK - 100) == disk.block(6)


def test_data_beside_every_map_is_a_program_check(disk: Disk, storage: Storage) -> None:
    assert not disk.connect().map_file(storage.fd, 0x8000)
    storage.put_reading(6, data=0x8000 - 100)
    with pytest.raises(OSError, match="Invalid argument"):
        disk.start()
    ended = disk.run(controls=FORMAT1)
    assert (ended.cstat, ended.count) == (0x20, BLOCK - 100)
    assert storage.get(0x8000 - 100, 100) == disk.block(6)[:100]
    assert storage.get(0x8000) == bytes(BLOCK)


def test_the_clients_own_memory_is_the_storage(disk: Disk) -> None:
    own = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    first = ctypes.c_char.from_buffer(own)
    assert not disk.connect().map_own(ctypes.addressof(first), len(own))
    program, parameters = reading(11)
    own[PROGRAM : PROGRAM + len(program)] = program
    own[PARAMETERS : PARAMETERS + len(parameters)] = parameters
    assert disk.run().dstat == 0x0C
    assert own[DATA : DATA + BLOCK] == disk.block(11)
    own[DATA : DATA + BLOCK] = b"from a process! " * 32
    program, parameters = reading(12, command=0x41, operation=1)
    own[PROGRAM : PROGRAM + len(program)] = program
    own[PARAMETERS : PARAMETERS + len(parameters)] = parameters
    assert disk.run().dstat == 0x0C
    assert disk.block(12) == b"from a process! " * 32


def test_a_sparse_4_gib_guest_costs_only_what_it_touches(disk: Disk) -> None:
    storage = Storage(4 * GIB)
    before = cpu_time(disk.system.pid)
    assert not disk.connect().map_file(storage.fd, storage.size)
    assert cpu_time(disk.system.pid) - before < 1
    target = 4 * GIB - PAGE
    program, parameters = reading(13, PARAMETERS + 64, flags=0x04)
    storage.put(PROGRAM, program)
    storage.put(PARAMETERS, parameters.ljust(64, b"\0") + struct.pack(">Q", target))
    assert disk.run(controls=FETCHED_IDAW64).dstat == 0x0C
    assert storage.get(target) == disk.block(13)
    assert os.fstat(storage.fd).st_blocks * 512 < 1 << 20
    storage.close()


def test_a_file_that_is_cut_is_an_error_of_the_guest(disk: Disk, storage: Storage) -> None:
    assert not disk.connect().map_file(storage.fd, storage.size)
    storage.put_reading(3, data=0x40000)
    os.truncate(storage.fd, 0x20000)
    assert disk.run().cstat == 0x08
    os.truncate(storage.fd, 0)
    with pytest.raises(OSError, match="Bad address"):
        disk.start()
    os.truncate(storage.fd, storage.size)
    storage.put_reading(3, data=0x40000)
    assert disk.run().dstat == 0x0C
    assert storage.get(0x40000) == disk.block(3)


def map_own_and_hand_over(disk: Disk, to: socket.socket) -> None:
    """Map this process's memory with a program in it; hand the connection over."""
    own = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    program, parameters = reading(11)
    own[PROGRAM : PROGRAM + len(program)] = program
    own[PARAMETERS : PARAMETERS + len(parameters)] = parameters
    connection = disk.connect()
    assert not connection.map_own(ctypes.addressof(ctypes.c_char.from_buffer(own)), len(own))
    socket.send_fds(to, [b"-"], [connection.socket.fileno()])
    to.recv(1)


def test_memory_of_a_process_that_ended_is_an_error_of_the_guest(disk: Disk) -> None:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            map_own_and_hand_over(disk, theirs)
        finally:
            os._exit(0)
    _, [connection], *_ = socket.recv_fds(ours, 1, 1)
    assert disk.run().dstat == 0x0C
    ours.send(b"-")
    os.waitpid(child, 0)
    with pytest.raises(OSError, match="Bad address"):
        disk.start()
    os.close(connection)
    until(disk.built_in_works, "the built-in storage is back")
    ours.close()
    theirs.close()


def test_neither_maps_nor_refusals_leave_descriptors_behind(disk: Disk, storage: Storage) -> None:
    before = descriptors(disk.system.pid)
    connection = disk.connect()
    for _ in range(50):
        assert not connection.map_file(storage.fd, storage.size)
        assert not connection.unmap(0, storage.size)
    assert connection.map_file(storage.fd, 2 * storage.size) != ""
    until(lambda: descriptors(disk.system.pid) == before + 1, "every descriptor is given back")


def test_many_maps(disk: Disk, storage: Storage) -> None:
    connection = disk.connect()
    for page in range(storage.size // PAGE):
        assert not connection.map_file(storage.fd, PAGE, iova=page * PAGE, offset=page * PAGE)
    program, parameters = reading(3)
    chained = b"".join(
        ccw(0x42 if not n else 0, 0x80 if n < 3 else 0, 128, 0x10000 * (n + 1)) for n in range(4)
    )
    storage.put(PROGRAM, program[:16] + chained)
    storage.put(PARAMETERS, parameters)
    assert disk.run().dstat == 0x0C
    parts = [storage.get(0x10000 * (n + 1), 128) for n in range(4)]
    assert b"".join(parts) == disk.block(3)
