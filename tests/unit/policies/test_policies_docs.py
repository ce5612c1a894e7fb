"""docs/policies.md beside settings and code: every kind has a section with an example that loads, its keys, and its codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from agents.policies import POLICY_FAILED
from streams.config_file import load_settings
from streams.settings_policies import AnyPolicy, EventPolicy, Policy
from tests.unit.config.test_config_docs import default

PAGE = Path("docs/policies.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
MODELS = {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(get_args(Policy)[0])}
COMMON = {*EventPolicy.model_fields, "kind"}
CODE = re.compile(r"`((?:schema|digest|version|freeze|registry|namespace|source|size|rate|policy)\.[a-z_]+)`")
SOURCES = [*Path("agents/policies").glob("*.py"), Path("gateway/door_rates.py")]


def keys(section: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", section, re.MULTILINE))


def examples(section: str) -> list[dict[str, Any]]:
    return [
        entry for text in re.findall(r"^```yaml\n(.*?)^```", section, re.MULTILINE | re.DOTALL) for entry in yaml.safe_load(text)
    ]


def test_every_kind_has_a_section() -> None:
    """And every section about a kind is about one that there is."""
    assert {title.strip("`") for title in SECTIONS if title.startswith("`")} == set(MODELS)


@pytest.mark.parametrize("kind", MODELS)
def test_a_section_lists_the_keys_of_its_kind(kind: str) -> None:
    """Those that not every policy has, each with its default."""
    own = {key: field for key, field in MODELS[kind].model_fields.items() if key not in COMMON}
    assert keys(SECTIONS[f"`{kind}`"]) == {key: default(field) for key, field in own.items()}


def test_the_keys_that_every_policy_has_are_listed() -> None:
    """With their defaults; the actions too."""
    documented = keys(SECTIONS["What every policy has"])
    actions = set(get_args(AnyPolicy.model_fields["action"].annotation))
    assert {key: value for key, value in documented.items() if key in COMMON - {"kind"}} == {
        key: default(field) for key, field in EventPolicy.model_fields.items()
    }
    assert actions == set(re.findall(r"^\| `(\w+)` \| [A-Z][^|]+ \|$", SECTIONS["What every policy has"], re.MULTILINE))


@pytest.mark.parametrize("kind", MODELS)
def test_its_example_loads(kind: str, tmp_path: Path) -> None:
    """Copied into a configuration, the example of a section is a policy of that kind."""
    found = examples(SECTIONS[f"`{kind}`"])
    (tmp_path / "syncmaster.yaml").write_text(yaml.safe_dump({"cluster": "here", "policies": found}))
    assert {policy.kind for policy in load_settings(tmp_path / "syncmaster.yaml", {}).policies} == {kind}


def test_every_code_is_documented() -> None:
    """The codes in the page are exactly those in the code."""
    written = re.compile(r'(?:Finding|Verdict|Problem)\(\s*(?:\d+, |"refuse", name, )?f?"([a-z{}]+\.[a-z_]+)"')
    found = {code for file in SOURCES for code in written.findall(file.read_text())}
    found.add(POLICY_FAILED)
    expanded = {code.replace("{what}", what) for code in found for what in ("registry", "namespace", "source")}
    assert expanded == set(CODE.findall(PAGE))
