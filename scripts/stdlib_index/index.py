"""Tokenise files and keep an index of their identifiers; knows nothing of actors."""

from __future__ import annotations

import heapq
import keyword
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import actorsys

LIBRARY = Path(sysconfig.get_path("stdlib"))
NOT_THE_LIBRARY = {"site-packages", "dist-packages"}
FILES_IN_AN_ANSWER = 5


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the library: its path inside it, and its size in bytes."""

    path: str
    size: int


@actorsys.register_type
@dataclass(frozen=True, slots=True)
class TokenisedFile:
    """What one file holds: how many tokens, and each identifier with its count."""

    path: str
    tokens: int
    identifiers: dict[str, int]
    is_skipped: bool = False


@actorsys.register_type
@dataclass(frozen=True, slots=True)
class Totals:
    """What an index holds: numbers of files and tokens, and each identifier with its count."""

    files: int
    skipped: int
    tokens: int
    identifiers: dict[str, int]


@actorsys.register_type
@dataclass(frozen=True, slots=True)
class Answer:
    """Where an identifier occurs: how often, in how many files, and in which of them most."""

    occurrences: int
    files: int
    most: list[tuple[str, int]]


class Index:
    """Which identifier occurs in which file, and how often."""

    def __init__(self) -> None:
        self._files = self._skipped = self._tokens = 0
        self._places: dict[str, dict[str, int]] = {}

    def add(self, file: TokenisedFile) -> None:
        """Add what was found in one file."""
        self._files += 1
        self._skipped += file.is_skipped
        self._tokens += file.tokens
        for identifier, count in file.identifiers.items():
            self._places.setdefault(identifier, {})[file.path] = count

    def totals(self) -> Totals:
        """Return what it holds, without the places."""
        counts = {identifier: sum(found.values()) for identifier, found in self._places.items()}
        return Totals(self._files, self._skipped, self._tokens, counts)

    def find(self, identifier: str) -> Answer:
        """Return where *identifier* occurs."""
        found = self._places.get(identifier, {})
        most = largest(found.items(), FILES_IN_AN_ANSWER)
        return Answer(sum(found.values()), len(found), most)


def tokenise_file(path: str) -> TokenisedFile:
    """Count the tokens and identifiers of a file; one that is not valid Python is skipped."""
    tokens = 0
    identifiers: Counter[str] = Counter()
    try:
        with tokenize.open(LIBRARY / path) as file:
            for token in tokenize.generate_tokens(file.readline):
                tokens += 1
                if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                    identifiers[token.string] += 1
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        return TokenisedFile(path, 0, {}, is_skipped=True)
    return TokenisedFile(path, tokens, dict(identifiers))


def merge_totals(parts: Iterable[Totals]) -> Totals:
    """Return what several indexes hold together."""
    files = skipped = tokens = 0
    identifiers: Counter[str] = Counter()
    for part in parts:
        files += part.files
        skipped += part.skipped
        tokens += part.tokens
        identifiers.update(part.identifiers)
    return Totals(files, skipped, tokens, dict(identifiers))


def merge_answers(parts: Iterable[Answer]) -> Answer:
    """Return the answer of several indexes together; no file is in two of them."""
    occurrences = files = 0
    most: list[tuple[str, int]] = []
    for part in parts:
        occurrences += part.occurrences
        files += part.files
        most += part.most
    return Answer(occurrences, files, largest(most, FILES_IN_AN_ANSWER))


def largest(counts: Iterable[tuple[str, int]], limit: int) -> list[tuple[str, int]]:
    """Return the *limit* largest of *counts*, equal ones by name."""
    return heapq.nsmallest(limit, counts, key=lambda item: (-item[1], item[0]))


def find_sources(limit: int | None) -> list[Source]:
    """Return the files of the library, the largest first, so that the last ones are small.

    Each is read here once: the first pass over them shall not pay for a cold disk alone.
    """
    paths = sorted(
        path
        for path in LIBRARY.rglob("*.py")
        if path.is_file() and NOT_THE_LIBRARY.isdisjoint(path.parts)
    )
    sources = [
        Source(path.relative_to(LIBRARY).as_posix(), len(path.read_bytes()))
        for path in paths[:limit]
    ]
    return sorted(sources, key=lambda source: -source.size)
