"""What is valid and still wrong: one test per finding, and the example has none that matter."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config_file import read_settings
from streams.config_lint import lint
from streams.config_problem import Problem
from streams.globs import overlap
from streams.settings import glob
from tests.unit.config.conftest import Problems

TWO_COMPONENTS = """
cluster: here
components:
  a: {sink: {type: log}}
  b: {sink: {type: log}}
routes:
  - {name: first, match: {artifacts: [chart/*]}, to: [a]}
  - {name: second, match: {artifacts: [%s]}, to: [a, b], mode: %s}
"""


def about(found: list[Problem], path: str) -> list[tuple[str, str]]:
    return [(problem.level, problem.message) for problem in found if problem.path == path]


def test_the_example_has_no_findings_but_its_missing_secrets() -> None:
    """The Orbit topology is clean wherever its secrets are."""
    found = lint(*read_settings(Path("gateway/local/orbit.yaml"), {}, base_dir=Path("nowhere")))
    assert [(problem.level, problem.path) for problem in found] == [("warning", "principals.c4-image-build.nats_password")]


def test_routes_in_two_modes_for_one_pair_are_an_error(problems: Problems) -> None:
    """A component that two routes bring the same artifacts in different modes is an error at the second route."""
    found = problems(TWO_COMPONENTS % ("chart/argo-*", "every"))
    assert [(problem.level, problem.path, problem.line) for problem in found] == [("error", "routes[1].match.artifacts", 7)]
    assert "reaches a for artifacts that route 'first' brings there too, in another mode" in found[0].message


def test_routes_in_one_mode_for_one_pair_are_a_warning(problems: Problems) -> None:
    """The same overlap in the same mode is only superfluous."""
    assert [problem.level for problem in problems(TWO_COMPONENTS % ("'*argo*'", "latest"))] == ["warning"]


def test_routes_that_share_no_artifact_are_fine(problems: Problems) -> None:
    """Patterns that no key can match both leave nothing to say."""
    assert problems(TWO_COMPONENTS % ("image/*", "every")) == []


def test_a_component_without_a_route_is_a_warning(problems: Problems) -> None:
    """A component that gets nothing is told."""
    found = problems("cluster: here\ncomponents: {a: {sink: {type: log}}}\n")
    assert about(found, "components.a") == [("warning", "no route names this component")]


def test_a_pattern_of_no_kind_is_a_warning(problems: Problems) -> None:
    """`charts/*` is told in routes and in roles."""
    found = problems("""
        cluster: here
        components: {a: {sink: {type: log}}}
        roles: {images: {rules: [{verbs: [publish], artifacts: [images/*, unknown/*]}]}}
        routes: [{name: r, match: {artifacts: [chart/*, charts/*]}, to: [a]}]
        """)
    assert about(found, "routes[0].match.artifacts[1]") == [("warning", "matches no kind of artifact")]
    assert about(found, "roles.images.rules[0].artifacts[0]") == [("warning", "matches no kind of artifact")]
    assert about(found, "roles.images.rules[0].artifacts[1]") == []


def test_a_principal_that_may_nothing_is_a_warning(problems: Problems) -> None:
    """Neither a role, nor a component of its name: why is it there?"""
    found = problems("cluster: here\nprincipals: {idle: {nats_password: {env: P}}}\n")
    assert about(found, "principals.idle") == [("warning", "no binding gives it a role, and it does not receive")]


def test_a_principal_that_cannot_prove_itself_is_a_warning(problems: Problems) -> None:
    """Without a password and without a key nobody can act as it."""
    found = problems("""
        cluster: here
        principals: {ghost: {groups: [people]}}
        roles: {viewer: {rules: [{verbs: [read]}]}}
        bindings: [{name: viewers, role: viewer, groups: [people]}]
        """)
    assert about(found, "principals.ghost") == [("warning", "has no credentials here, neither for NATS nor for the gateway")]


def test_more_components_than_a_head_can_hold_are_an_error(problems: Problems) -> None:
    """The worst case of one artifact's head must fit its bound; the mend names the bound that would do."""
    names = [f"c{index}" for index in range(9)]
    components = ", ".join(f"{name}: {{sink: {{type: log}}}}" for name in names)
    text = f'cluster: here\ncomponents: {{{components}}}\nroutes: [{{name: r, match: {{artifacts: ["*"]}}, to: {names}}}]\n'
    found = problems(text)
    assert [(problem.level, problem.path, problem.mend) for problem in found] == [
        ("error", "limits.head_bytes_max", "raise it to 11968 or more, or route to fewer components")
    ]
    assert problems(text + "limits: {head_bytes_max: 11968}\n") == []


@pytest.mark.parametrize(
    ("text", "path", "level"),
    [
        ("bridge: {pull_bytes_max: 65536}", "bridge.pull_bytes_max", "error"),
        ("worker: {chunk_bytes_max: 65536}", "worker.chunk_bytes_max", "error"),
        ("nats: {stream_bytes_max: 1048576}", "nats.stream_bytes_max", "error"),
        ("limits: {head_bytes_max: 2000000}", "limits.head_bytes_max", "error"),
        ("components: {a: {sink: {type: log}, backoff_s_min: 9, backoff_s_max: 1}}", "components.a.backoff_s_min", "error"),
        ("kafka: {request_timeout_s: 1}", "kafka.request_timeout_s", "warning"),
        ("nats: {grace_window_s: 0}", "nats.grace_window_s", "warning"),
        ("nats: {stream_replicas: 3}", "kafka.replication_factor", "warning"),
    ],
)
def test_relations_between_bounds_hold(problems: Problems, text: str, path: str, level: str) -> None:
    """A bound that another one contradicts is told at its place."""
    assert [found[0] for found in about(problems(f"cluster: here\n{text}\n"), path)] == [level]


@pytest.mark.parametrize(
    ("url", "levels"),
    [
        ("http://127.0.0.1:1/x", []),
        ("https://portal.example/x", []),
        ("http://portal.example/x", ["warning"]),
        ("https://me:hunter2@portal.example/x", ["error"]),
    ],
)
def test_addresses_of_components_are_safe(problems: Problems, url: str, levels: list[str]) -> None:
    """Plain text to another machine is doubtful, and credentials in an address are wrong and not repeated."""
    found = problems(f"cluster: here\ncomponents: {{a: {{sink: {{type: http, url: '{url}'}}}}}}\n")
    assert [level for level, _ in about(found, "components.a.sink.url")] == levels
    assert "hunter2" not in "".join(map(str, found))


def test_a_secret_file_that_everybody_may_read_is_a_warning(problems: Problems, tmp_path: Path) -> None:
    """Modes of secret files are looked at, and a file that is closed to others is fine."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    text = f"cluster: here\nnats: {{bridge_password: {{file: {secret}}}}}\n"
    secret.chmod(0o604)
    assert [level for level, _ in about(problems(text), "nats.bridge_password")] == ["warning"]
    secret.chmod(0o600)
    assert problems(text) == []


def test_a_missing_secret_is_a_warning(problems: Problems, tmp_path: Path) -> None:
    """A file may be checked where its secrets are not: told, and no error."""
    text = f"cluster: here\nnats: {{worker_password: {{file: {tmp_path / 'worker'}}}, bridge_password: {{env: BRIDGE}}}}\n"
    assert sorted((problem.level, problem.path) for problem in problems(text)) == [
        ("warning", "nats.bridge_password"),
        ("warning", "nats.worker_password"),
    ]
    (tmp_path / "worker").touch(mode=0o600)
    assert problems(text, {"BRIDGE": "hunter2"}) == []


def test_a_missing_directory_of_secrets_is_told_once(problems: Problems) -> None:
    """Where no secret is at all, one warning says so instead of one for each."""
    found = problems("cluster: here\nnats: {worker_password: {file: nowhere/a}, bridge_password: {file: nowhere/b}}\n")
    assert [problem.level for problem in found] == ["warning"]
    assert os.fspath(Path("nowhere")) in found[0].message


@given(st.text("ab*", max_size=5), st.text("ab*", max_size=5))
def test_patterns_overlap_exactly_when_a_text_matches_both(one: str, other: str) -> None:
    """The decision agrees with trying every text that could be the shortest witness."""
    texts = ("".join(chars) for length in range(9) for chars in itertools.product("ab", repeat=length))
    both = glob(one), glob(other)
    assert overlap(one, other) == any(all(pattern.fullmatch(text) for pattern in both) for text in texts)


def access(text: str) -> str:
    return f"cluster: here\nprincipals: {{p: {{nats_password: {{env: P}}}}}}\n{text}\n"


ROLE = "roles: {viewer: {rules: [{verbs: [read]}]}}\n"


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        (ROLE, "roles.viewer", "is bound to nobody"),
        (ROLE + "bindings: [{name: b, role: viewer}]", "roles.viewer", "is bound to nobody"),
        (ROLE + "bindings: [{name: b, role: viewer}]", "bindings[0]", "names nobody"),
        (
            ROLE + "bindings: [{name: b, role: viewer, principals: [p], groups: [crew]}]",
            "bindings[0].groups[0]",
            "no principal is in the group 'crew'",
        ),
        (
            "roles: {r: {rules: [{verbs: [publish, read, sync], types: [dev.*]}]}}",
            "roles.r.rules[0].types",
            "only publishing has a type, so this rule never allows read, sync",
        ),
        (
            "roles: {r: {rules: [{verbs: [publish], components: [store]}]}}\ncomponents: {store: {sink: {type: log}}}",
            "roles.r.rules[0].components",
            "an event is for no component in particular, so this rule never allows publish",
        ),
        ("roles: {r: {rules: [{verbs: [hold], components: [sotre]}]}}", "roles.r.rules[0].components[0]", "matches no component"),
    ],
)
def test_doubtful_access_is_a_warning(problems: Problems, text: str, path: str, told: str) -> None:
    """Roles and bindings for nobody, and rules that can never allow what they say."""
    assert about(problems(access(text)), path) == [("warning", told)]


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        ("bindings: [{name: b, role: viewer, principals: [p]}]", "bindings[0].role", "there is no role 'viewer'"),
        (ROLE + "bindings: [{name: b, role: viewer, principals: [q]}]", "bindings[0].principals[0]", "there is no principal 'q'"),
        (
            ROLE + "bindings: [{name: b, role: viewer, principals: [p]}, {name: b, role: viewer, principals: [p]}]",
            "bindings[1].name",
            "another binding is called 'b'",
        ),
    ],
)
def test_a_binding_to_nothing_is_an_error(problems: Problems, text: str, path: str, told: str) -> None:
    """What a binding names must be there, and two bindings have two names: decisions tell them."""
    assert about(problems(access(text)), path) == [("error", told)]
