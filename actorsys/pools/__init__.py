"""A pool of like actors: calls, maps, replacement of workers that die.

This floor decides which worker gets which call, and when. It knows actors and nurseries; it does
not know what the functions do.
"""

from .map_results import MapResults
from .pool import Pool, open_pool
from .progress import Progress
from .statistics import MapStatistics, WorkerPoolStatistics, WorkerStatistics

__all__ = [
    "MapResults",
    "MapStatistics",
    "Pool",
    "Progress",
    "WorkerPoolStatistics",
    "WorkerStatistics",
    "open_pool",
]
