"""Slabs of other processes: mapped once, kept for a while, and told to their owner."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from owner_process import OwnerProcess, place_of

from actorsys.cuda import HANDLE_BYTES, Gpu
from actorsys.errors import BufferFault, BufferLost, NotReachable, StaleBuffer
from actorsys.testing.fake_cuda import FakeCuda

F4 = np.dtype("f4")


def test_ranges_of_one_slab_are_one_mapping(gpu: Gpu, fake: FakeCuda, owner: OwnerProcess) -> None:
    addresses = [owner.take() for _ in range(3)]
    opened = [gpu.open(address) for address in addresses]
    assert opened[0] is opened[1] is opened[2]
    assert opened[0] is not None
    for number, address in enumerate(addresses):
        array = fake.array(place_of(address, opened[0].base), (10,), F4, "C", None)
        array[:] = number
        assert array.tolist() == [number] * 10
        assert owner.call("read", number, 10) == [number] * 10
    del array
    for found in opened:
        gpu.close(found)
    assert gpu.import_count == 1
    gpu.tidy()
    assert gpu.import_count == 1
    gpu.tidy()
    assert gpu.import_count == 0


def test_what_is_used_again_in_time_stays_mapped(gpu: Gpu, owner: OwnerProcess) -> None:
    address = owner.take()
    first = gpu.open(address)
    for _ in range(5):
        gpu.close(first)
        gpu.tidy()
        assert gpu.open(address) is first
    gpu.close(first)
    gpu.tidy(is_last=True)
    assert gpu.import_count == 0


def test_a_slab_is_freed_when_nobody_has_it_mapped(gpu: Gpu, owner: OwnerProcess) -> None:
    opened = gpu.open(owner.take())
    assert owner.call("give_back") > 0
    gpu.close(opened)
    gpu.tidy(is_last=True)
    assert owner.call("tidy") == 0


def test_an_importer_that_dies_keeps_no_slab(gpu: Gpu, owner: OwnerProcess) -> None:
    taken = gpu.take(4096)
    address = gpu.address(taken).pack()
    code = (
        "from owner_process import Owner, RangeAddress\n"
        f"Owner().gpu.open(RangeAddress.checked({address!r}, 4096))\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    importer = owner.process.args[0]  # type: ignore[index]
    folder = __file__.rpartition("/")[0]
    ended = subprocess.run([importer, "-c", code], cwd=folder, check=False)
    assert ended.returncode == -9
    gpu.give_back(taken)
    assert gpu.slab_bytes == 0


def test_ones_own_slab_is_not_opened(gpu: Gpu) -> None:
    taken = gpu.take(4096)
    address = gpu.address(taken)
    assert gpu.open(address) is None
    assert gpu.place(address, None) == taken.place
    gpu.give_back(taken)
    with pytest.raises(StaleBuffer):
        gpu.open(address)


def test_a_slab_of_a_process_that_has_ended_is_lost(gpu: Gpu, owner: OwnerProcess) -> None:
    address = owner.take()
    owner.end()
    with pytest.raises(BufferLost):
        gpu.open(address)


def test_a_handle_of_nothing_is_not_reached(gpu: Gpu, owner: OwnerProcess) -> None:
    address = owner.take()
    with pytest.raises(NotReachable, match="send a copy"):
        gpu.open(address._replace(handle=b"x" * HANDLE_BYTES))
    assert owner.call("give_back") == 0


def test_a_slab_is_of_one_size(gpu: Gpu, owner: OwnerProcess) -> None:
    address = owner.take()
    opened = gpu.open(address)
    with pytest.raises(BufferFault, match="two sizes"):
        gpu.open(address._replace(slab_bytes=2 * address.slab_bytes))
    gpu.close(opened)
    gpu.tidy(is_last=True)


def test_a_file_that_is_no_book_is_refused(gpu: Gpu, owner: OwnerProcess) -> None:
    address = owner.take()
    nothing = address.control._replace(inode=1)
    with pytest.raises(BufferFault):
        gpu.open(address._replace(control=nothing))
