"""Offered to an actor, this gives it two devices, in the other order than `fake_gpu` does."""

from __future__ import annotations

from actorsys.testing import fake_cuda

runtime = fake_cuda.install(devices=(1, 0))
