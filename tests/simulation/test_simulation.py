"""Thousands of runs of the engine and the bridge in memory, each from a seed: whatever goes wrong, in the end everything is true.

A failing seed prints its schedule and replays exactly: `SIMULATION_SEED=<seed> make unit ARGS=tests/simulation`. More of them:
`SIMULATION_SEEDS=<count>`, from `SIMULATION_FROM`.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.simulation.run import run_losing_seed, run_seed, trace_of

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "3000"))
FIRST = int(os.environ.get("SIMULATION_SEED", os.environ.get("SIMULATION_FROM", "0")))
#: Of processor time, so that a busy machine does not change what is tested by much; a soak has no budget.
BUDGET_S = float("inf") if "SIMULATION_SEEDS" in os.environ else 40.0
SEEDS_MIN = 300


@pytest.mark.timeout(0 if float("inf") == BUDGET_S else 300)
def test_every_guarantee_holds_on_every_schedule() -> None:
    """Kills, stops, losses, refusals and late arrivals at every await: no checker finds anything, and everything comes into step."""
    if "SIMULATION_SEED" in os.environ:
        run_seed(FIRST)
        return
    started_s, count = time.process_time(), 0
    for seed in range(FIRST, FIRST + SEEDS):
        run_seed(seed)
        count += 1
        if count >= SEEDS_MIN and time.process_time() - started_s > BUDGET_S:
            break
    assert count >= SEEDS_MIN


def test_a_planned_rebalance_waits_for_nothing_but_turns() -> None:
    """A worker that joins later takes its partitions at once: the others do not finish what they were only recovering."""
    for seed in range(40):
        for worker in run_seed(seed, faults=False).workers.values():
            assert worker.revoke_s_max < 0.5, f"seed {seed}, {worker.name}"


def test_a_run_without_faults_needs_no_repetition() -> None:
    """With nothing going wrong, and nobody joining late, every component gets each generation that it gets exactly once."""
    for seed in range(20):
        world = run_seed(seed, faults=False)
        if len(world.workers) > 1:
            continue
        for component in world.components.values():
            keys = [(got.artifact, got.generation) for got in component.got]
            assert len(keys) == len(set(keys)), f"seed {seed}, {component.name}"


@pytest.mark.parametrize("seed", [3, 17])
def test_a_seed_replays_exactly(seed: int) -> None:
    """The same seed gives the same run, step by step."""
    assert trace_of(seed) == trace_of(seed)


@pytest.mark.xfail(
    strict=False,
    reason="an offset that the log has again, after it was cut below it and grew, is not told from one that it never lost: "
    "stores, and checkpoints of streams that had nothing to append meanwhile, need a fingerprint beside their offsets",
)
def test_a_log_that_lost_its_tail_is_filled_again() -> None:
    """The log goes back to an older state under running processes: the end is the same as without."""
    for seed in range(40):
        run_losing_seed(seed)
