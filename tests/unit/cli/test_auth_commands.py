"""`syncmaster auth can-i`, against the configuration that ships."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app

ORBIT = ("--config", "gateway/local/orbit.yaml")
PUBLISHED = ("--type", "dev.cdevents.artifact.published.0.2.0")


def can_i(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["auth", "can-i", *arguments, *ORBIT])
    return result.exit_code, result.stdout.strip(), result.stderr.strip()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("c8-portal", "sync", "chart/argo-cd"), "yes: binding syncers -> role syncer, rule 0"),
        (("operator", "admin"), "yes: binding operators -> role operator, rule 0"),
        (("c24-chart-generator", "publish", "chart/argo-cd", *PUBLISHED), "yes: binding charts -> role chart-publisher, rule 0"),
    ],
)
def test_yes(arguments: tuple[str, ...], told: str) -> None:
    """Exit code 0, and the rule that allows it."""
    assert can_i(*arguments) == (0, told, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("c24-chart-generator", "publish", "image/argo-cd", *PUBLISHED),
        ("insighthub", "sync", "chart/argo-cd"),
        ("c12-manifestor", "read"),
    ],
)
def test_no(arguments: tuple[str, ...]) -> None:
    """Exit code 1, and that no rule allows it."""
    assert can_i(*arguments) == (1, "no: no rule allows it", "")


def test_publish_without_a_type_is_about_every_type() -> None:
    """The answer is no, and it is told how to ask about one."""
    code, out, told = can_i("c24-chart-generator", "publish", "chart/argo-cd")
    assert (code, out) == (1, "no: no rule allows it")
    assert "--type" in told


def test_for_tools() -> None:
    """As JSON the question is repeated, with the decision."""
    code, out, _ = can_i("c8-portal", "sync", "--component", "c20-chart-store", "--format", "json")
    assert (code, json.loads(out)) == (
        0,
        {
            "principal": "c8-portal",
            "verb": "sync",
            "type": "",
            "artifact": "",
            "component": "c20-chart-store",
            "environment": "",
            "allowed": True,
            "rule": "binding syncers -> role syncer, rule 0",
        },
    )


def test_a_principal_that_is_not_there() -> None:
    """A slip of the pen is not answered with no: it is told, with those that there are."""
    code, out, err = can_i("c8-protal", "sync")
    assert (code, out) == (1, "")
    assert "there is no principal 'c8-protal'" in err
    assert "c8-portal" in err
