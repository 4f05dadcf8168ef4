"""Offered to an actor, this gives it a device that enforces the rules of CUDA."""

from __future__ import annotations

from actorsys.testing import fake_cuda

runtime = fake_cuda.install()
