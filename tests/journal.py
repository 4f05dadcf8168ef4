"""A named pipe in which processes leave lines; light, since actors import it."""

from __future__ import annotations

import os


def write(path: str, line: str) -> None:
    """Leave *line*; works in any process, also while its task is being cancelled."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


def hold(path: str, line: str) -> None:
    """Leave *line* and keep the pipe open: the reader sees its end when this process is gone."""
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, f"{line}\n".encode())
