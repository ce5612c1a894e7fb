"""`syncmaster audit verify FILE` and `audit key`: exit codes, words, and which keys are trusted."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from gateway.cli.api import Api
from gateway.cli.main import app
from streams.ed25519 import public_text
from tests.chains import KEY, OTHER_KEY, checkpoint, export, records

PUBLIC = public_text(KEY.verify_key)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that knows nothing of SyncMaster but the export."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNCMASTER_CONFIG", raising=False)
    chain = records(5)
    Path("whole.jsonl").write_bytes(b"".join(export(checkpoint(chain, 3), *chain)))
    Path("altered.jsonl").write_bytes(b"".join(export(*chain[:2], *chain[3:])))
    Path("kept.jsonl").write_bytes(msgspec.json.encode(checkpoint(chain, 5)) + b"\n")


def audit(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["audit", *arguments])
    return result.exit_code, result.output


def test_whole() -> None:
    """Exit code 0, the count, and how many signed checkpoints agree."""
    assert audit("verify", "whole.jsonl", "--key", PUBLIC) == (0, "5 records are whole; 1 signed checkpoints agree with them\n")


def test_not_whole() -> None:
    """Exit code 1, and first of all what happened to which record."""
    code, said = audit("verify", "altered.jsonl", "--key", PUBLIC)
    assert code == 1
    assert said.startswith("dropped: partition 0, seq 2, offset 4: seq 2 is missing; seq 3 stands at this offset\n")


def test_for_tools() -> None:
    """As JSON: whether it is whole, the counts, and the faults with their places."""
    code, said = audit("verify", "altered.jsonl", "--key", PUBLIC, "--format", "json")
    report = json.loads(said)
    assert (code, report["whole"], report["faults"][0]["kind"], report["faults"][0]["seq"]) == (1, False, "dropped", 2)


def test_another_key() -> None:
    """Signatures of a key that was not given do not count."""
    code, said = audit("verify", "whole.jsonl", "--key", public_text(OTHER_KEY.verify_key))
    assert (code, said.partition(":")[0]) == (1, "forged")


def test_key_in_a_file() -> None:
    """A key may be given as a file."""
    Path("auditor.pub").write_text(PUBLIC)
    assert audit("verify", "whole.jsonl", "--key", "auditor.pub")[0] == 0


def test_without_a_key() -> None:
    """Where no key is known, chains are verified and it is said that signatures were not."""
    code, said = audit("verify", "whole.jsonl")
    assert (code, "signatures not checked" in said) == (0, True)


def test_kept_checkpoints() -> None:
    """Checkpoints that a witness kept are compared too."""
    assert "2 signed checkpoints" in audit("verify", "whole.jsonl", "--key", PUBLIC, "--checkpoints", "kept.jsonl")[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("verify", "nothing-here.jsonl", "--key", PUBLIC), 2),
        (("verify", "whole.jsonl", "--key", "nonsense"), 2),
        (("verify", "whole.jsonl", "--key", PUBLIC, "--checkpoints", "whole.jsonl"), 2),
        (("verify", "whole.jsonl", "--config", "no.yaml"), 2),
        (("verify",), 2),
        (("verify", "kept.jsonl", "--key", PUBLIC), 1),
        (("key",), 1),
        (("export", "out.jsonl"), 1),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_sentence(arguments: tuple[str, ...], expected: int) -> None:
    """Files and keys that are none, and no configuration, are told; only a file that is no export is an alarm."""
    code, said = audit(*arguments)
    assert code == expected
    assert said
    assert "Traceback" not in said


def test_public_key() -> None:
    """The public half of the signing key is printed, as the configuration and `--key` take it."""
    Path("signing.key").write_text(bytes(range(32)).hex())
    Path("signing.key").chmod(0o600)
    Path("syncmaster.yaml").write_text("cluster: here\naudit: {signing_key: {file: signing.key}}\n")
    assert audit("key") == (0, f"{PUBLIC}\n")
    assert "1 signed" in audit("verify", "whole.jsonl")[1]


def test_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a gateway answers is shown, so many at most; parts of the question that were not given are not asked."""
    asked: list[object] = []

    def items(self: Api, path: str, query: object = None) -> list[dict[str, str]]:
        asked.extend((path, query))
        return [{"at": "2026-11-23T12:00:00Z", "decision": "refused", "rule": "freeze-prod"}] * 3

    monkeypatch.setattr(Api, "items", items)
    monkeypatch.setenv("SYNCMASTER_API_KEY", "a-key-of-somebody")
    code, said = audit("list", "--decision", "refused", "--limit", "2", "--format", "json", "--url", "http://127.0.0.1:1")
    assert asked == ["/v1/audit", {"decision": "refused", "limit": "2"}]
    assert (code, said.count("freeze-prod")) == (0, 2)
