"""One participant, as the run has it."""

from __future__ import annotations

from ..actor import Portal
from .link import Link
from .participant import Participant


class Seat:
    """A participant with its address. ``portal`` and ``link`` are set while it starts."""

    def __init__(self, address: int, name: str, participant: Participant) -> None:
        self.address = address
        self.name = name
        self.participant = participant
        self.portal: Portal | None = None
        self.link: Link | None = None

    def __repr__(self) -> str:
        return f"participant {self.address} ({self.participant.label})"
