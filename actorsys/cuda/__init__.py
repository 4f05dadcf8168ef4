"""Memory of a GPU, as its driver shares it between processes: slabs, handles, events.

This floor knows no actor and no wire. What it needs of CUDA stands in one protocol class,
`CudaRuntime`, which CuPy fulfils (in `cupy_runtime`, the one module that imports it), and a
runtime in `testing` that enforces the rules of CUDA without a GPU.
"""

from .events import Mark
from .find import add_runtime, find_gpu, find_gpu_by_uuid, find_runtime, remove_runtime
from .gpu import Gpu
from .imports import Import
from .runtime import HANDLE_BYTES, CudaRuntime, Place
from .slabs import Range, RangeAddress

__all__ = [
    "HANDLE_BYTES",
    "CudaRuntime",
    "Gpu",
    "Import",
    "Mark",
    "Place",
    "Range",
    "RangeAddress",
    "add_runtime",
    "find_gpu",
    "find_gpu_by_uuid",
    "find_runtime",
    "remove_runtime",
]
