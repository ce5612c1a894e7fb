"""Reading `syncmaster.yaml`: positions, references, overrides, and errors that tell the mend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.config_file import load_settings
from streams.errors import ConfigError
from streams.settings import HttpSink
from tests.unit.config.conftest import Problems

Write = Callable[[str], Path]
ORBIT = Path("gateway/local/orbit.yaml")


def one(found: list[object]) -> str:
    assert len(found) == 1, [str(problem) for problem in found]
    return str(found[0])


def test_the_orbit_topology_loads() -> None:
    """The example that ships is valid, with the names that others rely on."""
    settings = load_settings(ORBIT, {})
    assert settings.cluster == "orbit-local"
    assert set(settings.components) == {"c8-portal", "c12-manifestor", "c20-chart-store", "c28-kustomize"}
    assert {"c4-image-build", "c24-chart-generator", "operator", "insighthub"} <= set(settings.principals)


def test_an_error_names_file_line_and_column(write: Write) -> None:
    """A value that is out of range is told with the place of its key."""
    file = write("""
        cluster: here
        kafka:
          partitions: 0
        """)
    with pytest.raises(ConfigError) as caught:
        load_settings(file, {})
    assert str(caught.value) == f"{file}:3:3: error: kafka.partitions: must be greater than or equal to 1; change the value"


def test_all_problems_are_told_at_once(problems: Problems) -> None:
    """Two mistakes in two sections give two problems, in the order of the file."""
    found = problems("""
        cluster: Here!
        worker: {chunk_records_max: many}
        """)
    assert [problem.path for problem in found] == ["cluster", "worker.chunk_records_max"]


def test_an_unknown_key_gets_a_suggestion(problems: Problems) -> None:
    """A misspelt key is refused at its line, with the known key that is nearest."""
    found = problems("""
        cluster: here
        components:
          portal:
            sink: {type: http, url: "https://portal", timeouts_s: 3}
        """)
    assert "unknown key `timeouts_s`; did you mean `timeout_s`?" in one(found)
    assert (found[0].line, found[0].path) == (4, "components.portal.sink.timeouts_s")


def test_an_unknown_key_without_a_neighbour_gets_the_known_ones(problems: Problems) -> None:
    """A key that resembles none is answered with those that are known there."""
    assert "unknown key `xyz`; remove it; known here are backoff_s_max," in one(
        problems(
            'cluster: here\ncomponents: {a: {sink: {type: log}, xyz: 1}}\nroutes: [{name: r, match: {artifacts: ["*"]}, to: [a]}]'
        )
    )


def test_a_missing_key_is_told_at_its_section(problems: Problems) -> None:
    """What is not in the file has the line of what should hold it."""
    found = problems("""
        cluster: here

        components:
          portal: {description: no sink}
        """)
    assert one(found).endswith(":4:3: error: components.portal.sink: is missing; add it")


def test_a_secret_in_plain_text_is_refused_and_not_repeated(problems: Problems) -> None:
    """A password where a secret's place is expected is refused, the mend is told, the password is not."""
    told = one(problems("cluster: here\nprincipals: {c4: {groups: [people], nats_password: hunter2}}"))
    assert "{env: NAME} or {file: PATH}" in told
    assert "hunter2" not in told


def test_a_duplicate_key_is_refused(problems: Problems) -> None:
    """A key that is there twice is an error that names both lines."""
    found = problems("""
        cluster: here
        kafka: {}
        kafka: {}
        """)
    assert one(found).endswith(":3:1: error: kafka: the key is there twice, first in line 2; keep one of the two")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cluster: [", "not valid YAML"),
        ("a: &x 1\nb: *x", "anchors and aliases are not taken"),
        ("1: 2\ncluster: here", "a key must be text"),
        ("", "the file holds no settings"),
        ("- list", "the file holds no settings"),
        ("cluster: \x07", "is not allowed in YAML"),
        ("[" * 5000, "nested too deeply"),
        ("a: " * 100, "not valid YAML"),
        ("cluster: !!python/name:os.system x", "not a value of"),
        ("# " + "x" * 2_000_000, "larger than"),
    ],
)
def test_text_that_is_no_configuration_is_refused(problems: Problems, text: str, said: str) -> None:
    """Whatever the file holds, the answer is a problem with a mend, never an exception of the parser."""
    assert said in str(problems(text)[0])


def test_a_file_that_is_not_there_is_told_with_the_next_step(tmp_path: Path) -> None:
    """Without a file the error says how to come by one."""
    with pytest.raises(ConfigError, match=r"there is no such file; .*orbit\.yaml"):
        load_settings(tmp_path / "none.yaml", {})


def test_references_are_filled_in_from_the_environment(write: Write) -> None:
    """`${A}` takes the variable, `${A:-b}` the default where it is unset or empty, `$$` is a dollar sign."""
    file = write("""
        cluster: ${NAME}
        kafka: {bootstrap: "${HOST:-localhost}:${PORT:-9092}", partitions: "${PARTITIONS:-12}"}
        principals: {c4: {description: "costs $$5 ${EMPTY:-and more}"}}
        """)
    settings = load_settings(file, {"NAME": "east", "PORT": "9999", "EMPTY": ""})
    assert (settings.cluster, settings.kafka.bootstrap, settings.kafka.partitions) == ("east", "localhost:9999", 12)
    assert settings.principals["c4"].description == "costs $5 and more"


def test_an_unset_reference_is_an_error(problems: Problems) -> None:
    """A variable that is neither set nor defaulted is told once, with its line."""
    found = problems("cluster: here\nkafka:\n  bootstrap: ${BROKERS}\n")
    told = "kafka.bootstrap: the environment variable BROKERS is not set; set it, or write `${BROKERS:-default}`"
    assert one(found).endswith(f":3:3: error: {told}")


def test_a_broken_reference_is_an_error(problems: Problems) -> None:
    """`${` that begins no reference is not taken literally."""
    assert "begins no reference" in one(problems("cluster: here\nkafka: {bootstrap: '${A B}'}"))


def test_the_environment_overrides_the_file(write: Write) -> None:
    """Both short names and the general scheme go before what the file says."""
    file = write("cluster: here\nkafka: {bootstrap: file:1}\n")
    environ = {"SYNCMASTER_KAFKA_BOOTSTRAP": "env:1", "SYNCMASTER_NATS_URL": "nats://env:2", "SYNCMASTER__GATEWAY__PORT": "8099"}
    settings = load_settings(file, environ)
    assert (settings.kafka.bootstrap, settings.nats.url, settings.gateway.port) == ("env:1", "nats://env:2", 8099)


def test_a_wrong_override_is_told_with_its_variable(problems: Problems) -> None:
    """What the environment got wrong is not blamed on a line of the file."""
    found = problems("cluster: here\n", {"SYNCMASTER__GATEWAY__PROT": "1", "SYNCMASTER__KAFKA__PARTITIONS": "few"})
    assert sorted(problem.file for problem in found) == ["$SYNCMASTER__GATEWAY__PROT", "$SYNCMASTER__KAFKA__PARTITIONS"]
    assert any("did you mean `port`?" in str(problem) for problem in found)


def test_relative_secrets_are_beside_the_file(write: Write, tmp_path: Path) -> None:
    """A relative secret file is below the configuration's directory, data directories are not touched."""
    file = write("cluster: here\nnats: {bridge_password: {file: secrets/bridge}}\nworker: {data_dir: data}\n")
    settings = load_settings(file, {})
    assert settings.nats.bridge_password is not None
    assert settings.nats.bridge_password.file == tmp_path / "secrets/bridge"
    assert settings.worker.data_dir == Path("data")


def test_relative_secrets_are_below_the_base_that_is_given(write: Write, tmp_path: Path) -> None:
    """With a base directory one file serves several runs, each with secrets of its own."""
    file = write("cluster: here\nnats: {bridge_password: {file: bridge}, worker_password: {file: /abs/worker}}\n")
    nats = load_settings(file, {}, base_dir=tmp_path / "run").nats
    assert nats.bridge_password is not None
    assert nats.worker_password is not None
    assert (nats.bridge_password.file, nats.worker_password.file) == (tmp_path / "run/bridge", Path("/abs/worker"))


def test_the_default_file_is_found(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a path, $SYNCMASTER_CONFIG goes before `syncmaster.yaml` in the working directory."""
    write("cluster: here\n")
    (tmp_path / "other.yaml").write_text("cluster: there\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).cluster == "here"
    assert load_settings(None, {"SYNCMASTER_CONFIG": "other.yaml"}).cluster == "there"


def test_an_error_of_the_lint_keeps_it_from_loading(write: Write) -> None:
    """What `check` calls an error is one at start too."""
    file = write("cluster: here\nbridge: {pull_bytes_max: 65536}\n")
    with pytest.raises(ConfigError, match=r"bridge\.pull_bytes_max"):
        load_settings(file, {})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("kafka: {session_timeout_s: 30}", "kafka.transaction_timeout_s"),
        ("limits: {event_bytes_max: 1048576}", "limits.event_bytes_max"),
        ("routes: [{name: r, match: {artifacts: ['*']}, to: [nobody]}]", "routes[0].to[0]"),
        ("components: {a: {sink: {type: log}}}\nroutes: [&R, &R]", "routes[1].name"),
    ],
)
def test_relations_are_told_at_the_value_to_change(problems: Problems, text: str, path: str) -> None:
    """What two settings contradict each other about has the place of one of them, not of the whole file."""
    route = "{name: r, match: {artifacts: ['*']}, to: [a]}"
    (problem,) = problems("cluster: here\n" + text.replace("&R", route))
    assert problem.path == path
    assert problem.line > 1


def test_a_tagged_union_is_told_without_its_tag(problems: Problems) -> None:
    """Paths are those of the file: the chosen kind of sink is not part of them."""
    found = problems("cluster: here\ncomponents: {a: {sink: {type: http, url: 'ftp://x'}}}\n")
    assert found[0].path == "components.a.sink.url"


def test_the_component_url_of_the_example_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Orbit topology takes the addresses of its components from the environment."""
    sink = load_settings(ORBIT, {"C8_PORTAL_URL": "https://portal.example/events"}).components["c8-portal"].sink
    assert isinstance(sink, HttpSink)
    assert sink.url == "https://portal.example/events"


def test_the_published_schema_is_current() -> None:
    """docs/syncmaster.schema.json is what `python -m streams.config_file schema` prints."""
    command = [sys.executable, "-m", "streams.config_file", "schema"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed == Path("docs/syncmaster.schema.json").read_text()
