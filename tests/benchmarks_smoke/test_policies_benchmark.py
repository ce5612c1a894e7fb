"""The benchmark of policies and rules, tiny: it starts, it ends, and it measures configurations of the promised size."""

from __future__ import annotations

from typing import get_args

from benchmarks.policies import measure
from benchmarks.policy_sets import KINDS, LARGE
from streams.settings_policies import Policy


def test_policies_benchmark() -> None:
    """The example, twenty policies and two hundred rules, and every kind alone: all in one run, every event accepted."""
    rows = {row["configuration"]: row for row in measure(events=4000, artifacts=50)}
    assert {"none", "example", *KINDS} < set(rows)
    large = rows[LARGE]
    assert (large["policies"], large["rules"]) == (20, 200)
    assert all(row["cpu_us_per_event"] > 0 for row in rows.values())
    assert rows["example"]["over_example"] == 0


def test_every_kind_is_measured() -> None:
    """One row for each kind that there is."""
    assert set(KINDS) == {get_args(model.model_fields["kind"].annotation)[0] for model in get_args(get_args(Policy)[0])}
