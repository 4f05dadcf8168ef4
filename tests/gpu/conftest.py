"""Tests of what only a GPU can show; without one they are skipped, and say why."""

from __future__ import annotations

import pytest

from actorsys.cuda import Gpu, find_gpu
from actorsys.errors import DeviceUnavailable


@pytest.fixture
def gpu() -> Gpu:
    """The first GPU of this machine."""
    try:
        return find_gpu("cuda:0")
    except DeviceUnavailable as error:
        pytest.skip(str(error))
