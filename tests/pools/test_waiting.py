"""The queue of a pool: nothing is lost, keys stay in order, and in one place at a time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actorsys.pools.job import Job
from actorsys.pools.placement import home_of
from actorsys.pools.waiting import Waiting

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from([0, 1, None])),
        st.tuples(st.just("take"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["end", "give back", "cancel"]), st.integers(0, 9)),
        st.tuples(st.sampled_from(["retire", "hire"]), st.integers(0, 2)),
    ),
    max_size=40,
)


class Model:
    """A pool without processes: workers are names, and what each has at hand is a list."""

    def __init__(self) -> None:
        self.slots = {slot: f"worker {slot}" for slot in range(3)}
        self.waiting: Waiting[str] = Waiting(self.slots)
        self.at_hand: list[tuple[str, Job]] = []
        self.jobs: list[Job] = []
        self.hired = 3

    def step(self, what: str, n: int | None) -> None:
        if what == "add":
            job = Job("m:f", (), {}, lambda _: None, key=n)
            self.waiting.add(job)
            self.jobs.append(job)
        elif what == "take":
            self.take(list(self.slots.values())[(n or 0) % len(self.slots)])
        elif what == "hire" and n not in self.slots:
            self.slots[n or 0] = f"worker {self.hired}"
            self.hired += 1
        elif what == "retire" and n in self.slots and len(self.slots) > 1:
            self.waiting.retire(self.slots.pop(n))
        elif what == "cancel" and self.jobs:
            job = self.jobs[(n or 0) % len(self.jobs)]
            if job not in [other for _, other in self.at_hand]:
                self.end(job)
        elif self.at_hand and what in ("end", "give back"):
            worker, job = self.at_hand.pop((n or 0) % len(self.at_hand))
            if what == "end":
                self.end(job)
            else:
                later = [
                    pair for pair in self.at_hand if pair[0] == worker and pair[1].key == job.key
                ]
                self.at_hand = [pair for pair in self.at_hand if pair not in later]
                self.waiting.add_again(worker, [job, *[other for _, other in later]])

    def end(self, job: Job) -> None:
        if not job.has_ended:
            job.end(None, None)
            self.waiting.on_end(job)

    def take(self, worker: str) -> bool:
        job = self.waiting.take(worker)
        if job is None:
            return False
        assert not job.has_ended
        if job.key is not None:
            assert {home for home, other in self.at_hand if other.key == job.key} <= {worker}
            open_before = [other for other in self.jobs if other.key == job.key]
            at_hand = [other for _, other in self.at_hand]
            for other in open_before[: open_before.index(job)]:
                assert other.has_ended or other in at_hand, "it overtakes one of its key"
        self.at_hand.append((worker, job))
        return True


@settings(max_examples=400)
@given(STEPS)
def test_nothing_is_lost_and_keys_are_kept(steps: list[tuple[str, int | None]]) -> None:
    model = Model()
    for what, n in steps:
        model.step(what, n)
        open_jobs = sum(not job.has_ended for job in model.jobs)
        assert len(model.waiting) + len(model.at_hand) == open_jobs
    while not all(job.has_ended for job in model.jobs):
        took = [model.take(worker) for worker in model.slots.values()]
        assert any(took) or model.at_hand, "a call waits for ever"
        while model.at_hand:
            model.end(model.at_hand.pop()[1])


def test_with_and_without_a_key_the_first_one_is_next() -> None:
    waiting = Waiting({0: "worker"})
    jobs = [Job("m:f", (), {}, lambda _: None, key=key) for key in (1, None, 2, None, 1, None)]
    for job in jobs:
        waiting.add(job)
    assert [waiting.take("worker") for _ in jobs] == jobs
    assert waiting.take("worker") is None


def test_a_key_begins_elsewhere_once_nothing_of_it_is_left_at_a_worker_that_leaves() -> None:
    slots = {0: "stays", 1: "leaves"}
    waiting = Waiting(slots)
    key = next(key for key in range(100) if home_of(key, slots) == 1)
    first, second, third = (Job("m:f", (), {}, lambda _: None, key=key) for _ in range(3))
    waiting.add(first)
    waiting.add(second)
    assert waiting.take("leaves") is first
    waiting.retire(slots.pop(1))
    waiting.add(third)
    assert [waiting.take(worker) for worker in ("stays", "leaves")] == [None, None]
    first.end(None, None)
    waiting.on_end(first)
    assert [waiting.take("stays") for _ in range(3)] == [second, third, None]
