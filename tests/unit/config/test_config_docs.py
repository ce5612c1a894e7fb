"""docs/configuration.md beside the settings: every key with its default, the example, and the sample of what `check` prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from streams import settings, settings_alerts
from streams.config_file import load_settings
from streams.settings import Model
from tests.unit.config.conftest import Problems

DOCS = Path("docs/configuration.md").read_text()
MODELS = {
    model.__name__: model
    for module in (settings, settings_alerts)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, Model)
}
TITLES = {
    "The file": "Settings",
    "A secret's place": "SecretRef",
    "`principals.<name>`": "Principal",
    "`nats.tls`": "Tls",
    "`nats.tls.<who>`": "Certificate",
    "`roles.<name>`": "Role",
    "`alerts.nats`": "NatsAlerts",
    "`alerts.alertmanager`": "Alertmanager",
    "`roles.<name>.rules[]`": "Rule",
    "`bindings[]`": "Binding",
    "`components.<name>`": "Component",
    "Sink `http`": "HttpSink",
    "Sink `nats`": "NatsSink",
    "Sink `log`": "LogSink",
    "`audit.verify_keys[]`": "VerifyKey",
    "`routes[]`": "Route",
    "`routes[].match`": "Match",
} | {f"`{name.lower()}`": name for name in ("Kafka", "Nats", "Limits", "Worker", "Bridge", "Gateway", "Audit", "Alerts")}


def documented() -> dict[str, dict[str, str]]:
    """Per model, the keys of its table with their defaults."""
    sections = re.split(r"^### (.+)$", DOCS, flags=re.MULTILINE)[1:]
    pairs = zip(sections[::2], sections[1::2], strict=True)
    return {TITLES[title]: dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", text, re.MULTILINE)) for title, text in pairs}


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.default
    if isinstance(value, BaseModel):
        return "its defaults"
    if value in (None, {}, (), ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) and value < 1e6 else f"`{value}`"


@pytest.mark.parametrize("name", [name for name in MODELS if name != "Model"])
def test_every_key_is_documented_with_its_default(name: str) -> None:
    """The table of a section lists exactly its keys, each with the default that is in effect."""
    assert documented()[name] == {key: default(field) for key, field in MODELS[name].model_fields.items()}


def test_the_example_of_the_page_loads(write: Callable[[str], Path]) -> None:
    """The first block of the page is a whole configuration."""
    (text, *_) = re.findall(r"^```yaml\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    assert set(load_settings(write(text), {}).components) == {"store"}


def test_the_sample_of_problems_is_what_check_says(problems: Problems) -> None:
    """The messages on the page have the words of the real ones."""
    (shown,) = re.findall(r"^```text\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    unknown = problems("cluster: here\ncomponents: {store: {sink: {type: http, url: 'https://x', timeout: 3}}}")
    no_kind = problems(
        "cluster: here\ncomponents: {a: {sink: {type: log}}}\nroutes: [{name: r, match: {artifacts: [x/*]}, to: [a]}]"
    )
    for problem in (*unknown, *no_kind):
        assert f"{problem.level}: {problem.path}: {problem.message}; {problem.mend}" in shown
