"""Participants of the public package `distributed_resource_optimization`, unmodified."""

from __future__ import annotations

import os
from typing import Any

import distributed_resource_optimization as dro
import numpy as np
from distributed_resource_optimization.algorithm.admm import sharing_admm


def flex_actor(in_capacity: float, eta: list[float]) -> Any:
    return dro.create_admm_flex_actor_one_to_many(in_capacity, eta)


def box_actor(high: list[float]) -> Any:
    """Return an actor between zero and *high*, whose parts all stand to it as the last one does."""
    share = [1 / each if each else 0.0 for each in high]
    rows = [[1.0] * len(high)]
    for place, each in enumerate(share[:-1]):
        row = [0.0] * len(high)
        if each:
            row[place], row[-1] = each, -share[-1]
        rows += [row, [-number for number in row]]
    return dro.ADMMFlexActor(
        lb=[0.0] * len(high),
        u=high,
        C=np.array(rows),
        d=np.array([sum(high), *[0.0] * (len(rows) - 1)]),
        S=np.zeros(len(high)),
    )


def sharing_coordinator() -> Any:
    return sharing_admm.create_sharing_target_distance_admm_coordinator()


def consensus_coordinator() -> Any:
    return dro.create_consensus_target_reach_admm_coordinator()


def schedules(participant_id: int, schedule_set: list[list[float]]) -> Any:
    return dro.create_cohda_participant(participant_id, schedule_set)


class Finished:
    """Notes that an algorithm has called back."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, algorithm: Any, carrier: Any) -> None:
        self.count += 1


def averaging(initial_lam: float, max_iter: int, *, dispatch: bool = False) -> Any:
    actor = dro.LinearCostEconomicDispatchConsensusActor(cost=10, p_max=100, n_guess=3)
    options = {"consensus_actor": actor} if dispatch else {"initial_lam": initial_lam}
    return dro.create_averaging_consensus_participant(Finished(), max_iter=max_iter, **options)


def diffusion(initial_lam: float, max_iter: int) -> Any:
    return dro.create_diffusion_participant(
        Finished(), initial_lam=initial_lam, max_iter=max_iter, horizon=1
    )


def diffusion_dispatch() -> Any:
    actor = dro.LinearCostEconomicDispatchDiffusionActor(cost=10, p_max=100, n_guess=3)
    return dro.create_diffusion_participant(
        Finished(), actor, epsilon=0.05, max_iter=300, horizon=6
    )


def read_x(algorithm: Any) -> tuple[int, Any]:
    return os.getpid(), algorithm.x


def read_candidate(algorithm: Any) -> tuple[Any, list[float], list[int]]:
    candidate = algorithm.memory.solution_candidate
    return candidate.perf, candidate.schedules.sum(axis=0).tolist(), sorted(candidate.present)


def read_lam(algorithm: Any) -> tuple[list[float], int]:
    return algorithm._lam.tolist(), algorithm.finish_callback.count
