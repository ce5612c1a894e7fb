"""`python -m benchmarks.authz`: nanoseconds per decision with 200 rules, ours beside cedarpy and casbin, all three of the same requests.

Two configurations: *teams*, in which each of 40 principals has 5 of the 200 rules, and *one*, in which one principal has all of them.
Every decision is timed by itself, less what timing a call of nothing takes. All requests are asked several times over, and the
quietest round counts, for each engine alike. The three must agree on every request, or nothing is printed.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median, quantiles
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from agents.authz import Authorizer, Resource
from benchmarks.peers.authz_casbin import Casbin
from benchmarks.peers.authz_cedar import Asked, Cedar
from benchmarks.results import RESULTS, commit
from streams.settings import Settings

TEAMS = 40
_ROUNDS = 11
_TYPE = "dev.cdevents.artifact.published.0.2.0"


def configuration(*, one_principal: bool) -> Settings:
    """200 rules: most patterns begin with a literal, some name one artifact, some have a star within."""
    names = [f"team-{number:02}" for number in range(TEAMS)]
    return Settings.model_validate(
        {
            "cluster": "bench",
            "principals": {"all": {}, **{name: {"groups": [f"people-of-{name}"]} for name in names}},
            "components": {"store": {"sink": {"type": "log"}, "environment": "prod"}},
            "roles": {name: {"rules": _rules(name)} for name in names},
            "bindings": [
                {
                    "name": name,
                    "role": name,
                    "principals": ["all"] if one_principal else [name],
                    "groups": [] if one_principal else [f"people-of-{name}"],
                }
                for name in names
            ],
        }
    )


def _rules(name: str) -> list[dict[str, Any]]:
    artifacts = ["dev.cdevents.artifact.*"]
    return [
        {"verbs": ["publish"], "types": artifacts, "artifacts": [f"chart/{name}/*"]},
        {"verbs": ["publish"], "types": artifacts, "artifacts": [f"image/registry.example/{name}/*", f"chart/shared/{name}"]},
        {"verbs": ["publish"], "types": ["dev.cdevents.environment.*"], "artifacts": [f"environment/{name}"]},
        {"verbs": ["read"], "artifacts": [f"image/*/{name}/*", f"chart/{name}/*"]},
        {"verbs": ["hold", "release"], "artifacts": [f"chart/{name}/*"], "environments": ["prod"]},
    ]


def requests(count: int, *, one_principal: bool, seed: int = 5) -> list[Asked]:
    """About half of them are allowed; every one is about another artifact."""
    chance, found = random.Random(seed), list[Asked]()
    for number in range(count):
        asking, about = (f"team-{chance.randrange(TEAMS):02}" for _ in range(2))
        about = about if chance.random() < 0.4 else asking
        if one_principal:
            asking, about = "all", about if chance.random() < 0.5 else "team-zz"
        found.append(
            chance.choice(
                [
                    (asking, "publish", _TYPE, f"chart/{about}/chart-{number}", "", ""),
                    (asking, "publish", _TYPE, f"image/registry.example/{about}/image-{number}", "", ""),
                    (asking, "read", "", f"image/registry.example/{about}/image-{number}", "", ""),
                    (asking, "hold", "", f"chart/{about}/chart-{number}", "store", "prod"),
                ]
            )
        )
    return found


def measure(name: str, *, one_principal: bool, count: int, count_slow: int) -> list[dict[str, Any]]:
    settings = configuration(one_principal=one_principal)
    ours, cedar, casbin = Authorizer(settings), Cedar(settings), Casbin(settings)
    asked = requests(count, one_principal=one_principal)
    questions = [(principal, verb, Resource(kind, *rest)) for principal, verb, kind, *rest in asked]
    few = asked[:count_slow]
    decisions = [ours.decide(*question).allowed for question in questions]  # type: ignore[arg-type]
    agree(decisions, [allowed for allowed, _ in cedar.decide_all(asked)], "cedarpy")
    agree(decisions[:count_slow], [casbin.decide(one) for one in few], "casbin")
    return [
        row(name, "syncmaster, uncached", _times(lambda one: ours.decide_uncached(*one), questions), decisions),
        row(name, "syncmaster, cached", _times(lambda one: ours.decide(*one), questions), decisions),
        row(name, "cedarpy", _times(cedar.decide, few), decisions),
        row(name, "cedarpy, its engine alone", _engine_alone(cedar, few), decisions),
        row(name, "casbin", _times(casbin.decide, few), decisions),
    ]


def agree(ours: list[bool], theirs: list[bool], peer: str) -> None:
    different = [number for number, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
    if different:
        raise SystemExit(f"{peer} decides {len(different)} of {len(ours)} requests in another way, first number {different[0]}")


def _times(decide: Callable[[Any], object], asked: list[Any]) -> list[float]:
    """Nanoseconds of each decision in the quietest of some rounds with the same requests, the first of which is a warm-up."""
    rounds = []
    for _ in range(_ROUNDS):
        nothing = median(_clocked(lambda one: None, asked))
        rounds.append([max(0.0, time_ns - nothing) for time_ns in _clocked(decide, asked)])
    return min(rounds[1:], key=median)


def _clocked(function: Callable[[Any], object], asked: list[Any]) -> list[int]:
    clock, found = time.perf_counter_ns, list[int]()
    for one in asked:
        began = clock()
        function(one)
        found.append(clock() - began)
    return found


def _engine_alone(cedar: Cedar, asked: list[Asked]) -> list[float]:
    """What Cedar says of itself: without Python, and without the request's way there and back as JSON."""
    rounds = [[cedar.engine_ns(one) for one in asked] for _ in range(_ROUNDS)]
    return min(rounds[1:], key=median)


def row(path: str, engine: str, times_ns: list[float], decisions: list[bool]) -> dict[str, Any]:
    return {
        "rules": f"200, {path}",
        "engine": engine,
        "median_ns": round(median(times_ns)),
        "p99_ns": round(quantiles(times_ns, n=100)[98]),
        "requests": len(decisions),
        "allowed": sum(decisions),
    }


def main(
    count: Annotated[int, typer.Option(help="Requests.")] = 2_000,
    count_slow: Annotated[int, typer.Option(help="Of them for cedarpy and casbin, one by one.")] = 100,
    save: Annotated[bool, typer.Option(help="Keep the rows in benchmarks/results/authz.json.")] = True,
) -> None:
    """Median and 99th percentile of one decision."""
    rows = measure("5 for each of 40 principals", one_principal=False, count=count, count_slow=count_slow)
    rows += measure("all for one principal", one_principal=True, count=count, count_slow=count_slow)
    table = Table(*rows[0], box=None)
    for found in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else value for value in found.values()))
    Console(width=140).print(table)
    if save:
        peers = {name: version(name) for name in ("cedarpy", "casbin")}
        document = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), **peers, "rows": rows}
        (RESULTS / "authz.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
