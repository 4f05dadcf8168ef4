"""The tree of actors, and what each of them does.

  root ── indexer-1 ── tokeniser-1      a process each
       └─ indexer-2 ── tokeniser-2

Batches of files go down to whichever indexer is free. Results come back file by file through two
async generators: what a file holds from the tokeniser to its indexer, which keeps it, and a
summary from there to the root. Questions and answers travel through a context that is open as
long as the indexer lives, and in which it has its own nursery.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

import actorsys

from .index import Answer, Index, Source, TokenisedFile, Totals, merge_answers, tokenise_file

BATCH_BYTES = 128 * 1024
"""About 50 ms of work: far more than it costs to hand it out, and the most by which one core can
be busy longer than the others at the end."""

BATCHES_IN_FLIGHT = 2
"""For each indexer: while one is worked on, the next is already there."""


# --- the root ----------------------------------------------------------------------------


@actorsys.register_type
@dataclass(frozen=True, slots=True)
class FileSummary:
    """What the root is told of an indexed file."""

    path: str
    tokens: int
    identifiers: int


@dataclass(frozen=True, slots=True)
class Indexer:
    """An indexer as the root sees it, with its tokeniser's name and pid."""

    portal: actorsys.Portal
    questions: actorsys.MsgStream
    tokeniser: tuple[str, int]


OnFile = Callable[[Indexer, FileSummary], None]


@asynccontextmanager
async def open_indexers(count: int) -> AsyncIterator[list[Indexer]]:
    """Start *count* indexers, each with its tokeniser; end them with the block."""
    ready, is_ready = trio.open_memory_channel[Indexer](count)
    finished = trio.Event()
    async with actorsys.open_nursery() as nursery, trio.open_nursery() as tasks:
        for number in range(1, count + 1):
            name = f"indexer-{number:0{len(str(count))}}"
            tasks.start_soon(_keep_indexer, nursery, name, ready, finished)
        indexers = [await is_ready.receive() for _ in range(count)]
        yield sorted(indexers, key=lambda indexer: indexer.portal.name)
        finished.set()


async def _keep_indexer(
    nursery: actorsys.ActorNursery,
    name: str,
    ready: trio.MemorySendChannel[Indexer],
    finished: trio.Event,
) -> None:
    """Start an indexer, report it as *ready*, and end it when everything is *finished*."""
    portal = await nursery.start_actor(name, modules=[__name__])
    async with portal.open_context(answer_questions) as (context, tokeniser):
        async with context.open_stream() as questions:
            await ready.send(Indexer(portal, questions, tokeniser))
            await finished.wait()
    await portal.cancel_actor()


async def index_sources(
    indexers: list[Indexer], sources: Iterable[Source], on_file: OnFile
) -> None:
    """Have *sources* indexed; call *on_file* for each file that is done."""
    batches = make_batches(sources)
    async with trio.open_nursery() as tasks:
        for indexer in indexers * BATCHES_IN_FLIGHT:
            tasks.start_soon(_hand_out, indexer, batches, on_file)


async def _hand_out(indexer: Indexer, batches: Iterator[list[str]], on_file: OnFile) -> None:
    """Give *indexer* another batch whenever it has finished one; all tasks share *batches*."""
    for batch in batches:
        async with indexer.portal.open_stream_from(index_files, batch) as summaries:
            async for summary in summaries:
                on_file(indexer, summary)


def make_batches(sources: Iterable[Source]) -> Iterator[list[str]]:
    """Group the paths of *sources* into batches of about the same work."""
    batch: list[str] = []
    size = 0
    for source in sources:
        if batch and size + source.size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(source.path)
        size += source.size
    if batch:
        yield batch


async def ask(indexers: list[Indexer], identifier: str) -> Answer:
    """Ask every indexer where *identifier* occurs, and return what they know together."""
    for indexer in indexers:
        await indexer.questions.send(identifier)
    return merge_answers([await indexer.questions.receive() for indexer in indexers])


# --- an indexer --------------------------------------------------------------------------

# What an indexer keeps between calls. Each actor is a process, so these are its own.
_index = Index()
_tokeniser: actorsys.Portal


@actorsys.context
async def answer_questions(context: actorsys.Context) -> None:
    """Start the tokeniser, then answer questions until the caller has no more."""
    global _tokeniser
    name = actorsys.current_actor().name.replace("indexer", "tokeniser")
    async with actorsys.open_nursery() as nursery:
        _tokeniser = await nursery.start_actor(name, modules=[__name__])
        await context.started((name, _tokeniser.pid))
        async with context.open_stream() as questions:
            async for identifier in questions:
                await questions.send(_index.find(identifier))
        await _tokeniser.cancel_actor()


async def index_files(paths: list[str]) -> AsyncIterator[FileSummary]:
    """Have the tokeniser read *paths*, add what it finds to the index, and summarise it."""
    async with _tokeniser.open_stream_from(tokenise_files, paths) as files:
        async for file in files:
            _index.add(file)
            yield FileSummary(file.path, file.tokens, len(file.identifiers))


async def read_totals() -> Totals:
    """Return what the index of this indexer holds."""
    return _index.totals()


# --- a tokeniser -------------------------------------------------------------------------


async def tokenise_files(paths: list[str]) -> AsyncIterator[TokenisedFile]:
    """Tokenise each of *paths*."""
    # In threads the batches would only fight for the interpreter lock. So they take turns here:
    # with each summary that is sent, the actor hears of other calls and of a cancellation.
    for path in paths:
        yield tokenise_file(path)
