"""Everything that names a metric, compared with the catalogue in streams/metrics.py: documentation, alerts, dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from streams import metrics

RULES = Path("deploy/prometheus/rules.yml")
DASHBOARD = Path("deploy/grafana/dashboards/syncmaster.json")
DOCS = Path("docs/metrics.md")
#: Written by Prometheus itself for every target.
PROMETHEUS_OWN = {"up"}
CATALOGUE = {name: metric for name, metric in vars(metrics).items() if isinstance(metric, MetricWrapperBase)}


def exposed(metric: MetricWrapperBase) -> str:
    """The name as the catalogue has it: counters end with `_total`."""
    return metric._name + ("_total" if metric._type == "counter" else "")


def series(metric: MetricWrapperBase) -> set[str]:
    """The names of the series that it makes."""
    if metric._type == "histogram":
        return {f"{metric._name}_{part}" for part in ("bucket", "sum", "count")}
    return {exposed(metric)}


SERIES = {name: set(metric._labelnames) for metric in CATALOGUE.values() for name in series(metric)}


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


EXPRESSIONS = list(expressions())


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS, ids=[title for title, _ in EXPRESSIONS])
def test_expressions_name_metrics_that_exist(title: str, expression: str) -> None:
    """Alerts and panels query only series and labels that the catalogue makes."""
    named = set(re.findall(r"\bsyncmaster_\w+|\bup\b", expression))
    assert named, title
    assert named <= SERIES.keys() | PROMETHEUS_OWN
    used = selecting(expression) | grouping(expression)
    known = set().union(*(SERIES.get(name, set()) for name in named)) | {"le", "job", "instance"}
    assert used <= known


def selecting(expression: str) -> set[str]:
    """Labels within `{…}`."""
    return {label for found in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", found)}


def grouping(expression: str) -> set[str]:
    """Labels after `by (…)` and `on (…)`."""
    return {label.strip() for found in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in found.split(",")}


def test_every_alert_says_what_and_what_next() -> None:
    """An alert without the next step is only noise."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert all(rule["labels"]["severity"] in ("warning", "critical") for rule in rules)
    assert all(rule["annotations"].keys() == {"summary", "next"} for rule in rules)


def documented() -> dict[str, tuple[str, set[str], str]]:
    """Rows of the tables: name, type, labels, meaning."""
    rows = re.findall(r"^\| `(syncmaster_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", DOCS.read_text(), re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows}


def test_the_documentation_lists_exactly_the_catalogue() -> None:
    """docs/metrics.md has each metric with its type, labels and meaning, and no other."""
    expected = {exposed(metric): (metric._type, set(metric._labelnames), metric._documentation) for metric in CATALOGUE.values()}
    assert documented() == expected


def test_names_follow_the_conventions() -> None:
    """Base units, `_total` for counters alone, one prefix."""
    for metric in CATALOGUE.values():
        name = exposed(metric)
        assert re.fullmatch(r"syncmaster_[a-z_]+", name)
        assert name.endswith("_total") == (metric._type == "counter")
        assert not re.search(r"_(ms|millis|milliseconds|kb|mb|percent)\b", name)


def test_labels_are_bounded() -> None:
    """No label holds what producers choose freely: artifacts, ids, digests, versions."""
    labels = {label for metric in CATALOGUE.values() for label in metric._labelnames}
    assert not labels & {"artifact", "key", "id", "digest", "version", "source", "subject", "path", "url"}


def test_the_dashboard_is_consistent() -> None:
    """Panels have ids of their own, the provisioned data source, and do not overlap."""
    dashboard = json.loads(DASHBOARD.read_text())
    provisioned = yaml.safe_load(Path("deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    (source,) = [entry["uid"] for entry in provisioned["datasources"]]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} == {source}
    cells = [cell for panel in panels for cell in covered(panel["gridPos"])]
    assert len(cells) == len(set(cells))


def covered(position: dict[str, Any]) -> Iterator[tuple[int, int]]:
    for x in range(position["x"], position["x"] + position["w"]):
        for y in range(position["y"], position["y"] + position["h"]):
            yield x, y


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
@pytest.mark.parametrize("command", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_takes_the_rules(command: tuple[str, ...]) -> None:
    """Prometheus' own tool accepts configuration and rules, and the alerts fire as their tests say."""
    done = subprocess.run(["promtool", *command], cwd=RULES.parent, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
