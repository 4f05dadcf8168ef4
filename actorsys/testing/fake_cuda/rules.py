"""The rules of CUDA. On a real device, nothing but wrong memory tells that one was broken."""

from __future__ import annotations


class CudaRuleBroken(AssertionError):
    """Something was done that CUDA leaves undefined, or refuses."""
