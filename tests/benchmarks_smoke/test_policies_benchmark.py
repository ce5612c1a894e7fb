"""The benchmark of policies and rules, tiny: it starts, it ends, and it measures configurations of the promised size."""

from __future__ import annotations

from typing import get_args

from benchmarks.policies import by_kind, measure
from benchmarks.policy_sets import EXAMPLE, KINDS, LARGE
from streams.settings_policies import Policy


def test_policies_benchmark() -> None:
    """The example, and twenty policies beside two hundred rules, in one run, every event accepted."""
    rows = {row["configuration"]: row for row in measure(events=4000, artifacts=50)}
    assert (rows[LARGE]["policies"], rows[LARGE]["rules"]) == (20, 200)
    assert all(row["cpu_us_per_event"] > 0 for row in rows.values())
    assert rows[EXAMPLE]["over_example"] == 0


def test_every_kind_is_measured() -> None:
    """One figure for each kind that there is, and one for the case."""
    kinds = {get_args(model.model_fields["kind"].annotation)[0] for model in get_args(get_args(Policy)[0])}
    assert set(KINDS) == kinds
    assert set(by_kind(50)) == {"case", *kinds}
