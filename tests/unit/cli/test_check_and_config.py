"""`syncmaster check` and `syncmaster config`, as functions that print and return an exit code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.cli.check import check_command
from gateway.cli.config import config_command, effective_yaml
from streams.config_file import load_settings

ORBIT = Path("gateway/local/orbit.yaml")
CLEAN = "cluster: here\n"
DOUBTFUL = "cluster: here\ncomponents: {a: {sink: {type: log}}}\n"
WRONG = "cluster: here\nkafka: {partitons: 8}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "syncmaster.yaml"


@pytest.mark.parametrize(("text", "code"), [(CLEAN, 0), (DOUBTFUL, 0), (WRONG, 1)])
def test_only_errors_fail_the_check(file: Path, text: str, code: int) -> None:
    """Warnings leave the exit code at 0, an error makes it 1."""
    file.write_text(text)
    assert check_command(file) == code


def test_the_check_prints_place_message_and_mend(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line begins as compilers' do, so that editors can jump there; the last counts."""
    file.write_text(WRONG)
    check_command(file)
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:2:9: error: kafka.partitons: unknown key `partitons`; did you mean `partitions`?",
        "1 error, 0 warnings",
    ]


def test_the_check_speaks_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For tools: one object, with the same problems in fields."""
    file.write_text(DOUBTFUL)
    check_command(file, "json")
    _, problem = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["file"], problem["line"], problem["level"], problem["path"]) == (str(file), 2, "warning", "components.a")


def test_a_missing_file_fails_the_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No file is an error with a next step, not a traceback."""
    assert check_command(file) == 1
    assert "there is no such file" in capsys.readouterr().out


def test_defaults_and_overrides_are_printed() -> None:
    """What is in effect is shown, whether it is from the file, the environment or nowhere."""
    text = effective_yaml(load_settings(ORBIT, {"SYNCMASTER__KAFKA__PARTITIONS": "24"}))
    assert "partitions: 24" in text
    assert "chunk_records_max: 4000" in text


def test_printing_and_loading_is_a_round_trip(file: Path) -> None:
    """Loading what was printed gives equal settings."""
    settings = load_settings(ORBIT, {})
    file.write_text(effective_yaml(settings))
    assert load_settings(file, {}) == settings


def test_no_secret_is_printed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets appear as their places, and credentials in an address are masked."""
    (tmp_path / "bridge").write_text("hunter2")
    monkeypatch.setenv("SYNCMASTER_NATS_URL", "nats://me:hunter3@nats:4222")
    file.write_text("cluster: here\nnats: {bridge_password: {file: bridge}, worker_password: {env: WORKER}}\n")
    assert config_command(file) == 0
    printed = capsys.readouterr().out
    assert not re.search("hunter", printed)
    assert f"file: {tmp_path / 'bridge'}" in printed
    assert "env: WORKER" in printed
    assert "nats://***@nats:4222" in printed


def test_a_wrong_file_is_told_on_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but a configuration ever goes to stdout."""
    file.write_text(WRONG)
    assert config_command(file) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "did you mean `partitions`?" in err
