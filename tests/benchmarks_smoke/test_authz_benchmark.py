"""The benchmark of decisions, tiny: three engines agree, and each gives a row. What it measures here means nothing."""

from __future__ import annotations

import pytest

from benchmarks.authz import agree, configuration, measure, requests


@pytest.mark.parametrize("one_principal", [False, True])
def test_rows(one_principal: bool) -> None:
    """Every engine has a median and a tail; some requests are allowed and some are not."""
    rows = measure("tiny", one_principal=one_principal, count=60, count_slow=3)
    assert [row["engine"] for row in rows] == [
        "syncmaster, uncached",
        "syncmaster, cached",
        "cedarpy",
        "cedarpy, its engine alone",
        "casbin",
    ]
    assert all(row["median_ns"] >= 0 and row["p99_ns"] >= row["median_ns"] for row in rows)
    assert 0 < rows[0]["allowed"] < rows[0]["requests"]


def test_there_are_200_rules() -> None:
    """As many as the page says, bound to as many principals."""
    settings = configuration(one_principal=False)
    assert sum(len(role.rules) for role in settings.roles.values()) == 200
    assert {asked[0] for asked in requests(2000, one_principal=False)} == set(settings.principals) - {"all"}


def test_engines_that_differ_are_told() -> None:
    """A benchmark of wrong answers is none."""
    with pytest.raises(SystemExit, match="casbin decides 1 of 2 requests in another way, first number 1"):
        agree([True, True], [True, False], "casbin")
