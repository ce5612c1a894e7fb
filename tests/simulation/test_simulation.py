"""Thousands of runs of the engine and the bridge in memory, each from a seed: whatever goes wrong, in the end everything is true.

A failing seed prints its schedule and replays exactly: `SIMULATION_SEED=<seed> make unit ARGS=tests/simulation`. More of them:
`SIMULATION_SEEDS=<count>`, from `SIMULATION_FROM`; of those whose log loses its tail `SIMULATION_LOSING_SEEDS`, from `SIMULATION_LOSING_FROM`.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.simulation.run import run_losing_seed, run_seed, run_troubled_seed, trace_of

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "3000"))
FIRST = int(os.environ.get("SIMULATION_SEED", os.environ.get("SIMULATION_FROM", "0")))
#: Of processor time, and of the clock where others want the machine too; a soak has neither.
IS_SOAK = "SIMULATION_SEEDS" in os.environ
PROCESSOR_S_MAX, CLOCK_S_MAX = (float("inf"), float("inf")) if IS_SOAK else (10.0, 20.0)
SEEDS_MIN = 300
LOSING_SEEDS = int(os.environ.get("SIMULATION_LOSING_SEEDS", "60"))
TROUBLED_SEEDS = 60
FIRST_LOSING = int(os.environ.get("SIMULATION_LOSING_FROM", "0"))


@pytest.mark.timeout(0 if IS_SOAK else 300)
def test_every_guarantee_holds_on_every_schedule() -> None:
    """Kills, stops, losses, refusals and late arrivals at every await: no checker finds anything, and everything comes into step."""
    if "SIMULATION_SEED" in os.environ:
        run_seed(FIRST)
        return
    processor_s, clock_s, count = time.process_time(), time.monotonic(), 0
    for seed in range(FIRST, FIRST + SEEDS):
        run_seed(seed)
        count += 1
        is_over = time.process_time() - processor_s > PROCESSOR_S_MAX or time.monotonic() - clock_s > CLOCK_S_MAX
        if is_over and count >= SEEDS_MIN:
            break
    print(f"{count} schedules in {time.process_time() - processor_s:.0f} s of processor time")
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


def test_a_log_that_answers_late_or_not_at_all_changes_nothing() -> None:
    """A request whose sender has given up may still arrive, and strike what came after it: it finds nothing to spoil."""
    for seed in range(TROUBLED_SEEDS):
        run_troubled_seed(seed)


def test_a_log_that_lost_its_tail_is_filled_again() -> None:
    """The log goes back to an older state under running processes, with and without other faults: the end is the same as without."""
    for seed in range(FIRST_LOSING, FIRST_LOSING + LOSING_SEEDS):
        run_losing_seed(seed)
