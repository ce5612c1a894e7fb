"""`audit` in the configuration: keys in each form, and what `check` says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streams import ed25519
from streams.config_file import load_settings, read_settings
from streams.config_lint import lint
from streams.config_problem import Problem
from streams.errors import ConfigError
from tables.audit_checkpoint import trust_of
from tests.chains import KEY, checkpoint, records

# Made by `openssl genpkey -algorithm ed25519`, and its public half by `openssl pkey -pubout`.
PRIVATE_PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
"""
PUBLIC_PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=
-----END PUBLIC KEY-----
"""
Write = Callable[[str], Path]


def found(file: Path) -> list[Problem]:
    return lint(*read_settings(file, {}))


@pytest.mark.parametrize("text", [PRIVATE_PEM, bytes(range(32)).hex(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"])
def test_forms_of_a_private_key(text: str) -> None:
    """PEM as OpenSSL writes it, hex and base64 without padding are the same key."""
    assert ed25519.signing_key(text) == KEY


@pytest.mark.parametrize("text", [PUBLIC_PEM, "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="])
def test_forms_of_a_public_key(text: str) -> None:
    """PEM as OpenSSL writes it and base64 are the same key."""
    assert ed25519.verify_key(text) == KEY.verify_key
    assert ed25519.public_text(ed25519.verify_key(text)) == "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


@pytest.mark.parametrize("text", ["", "hunter2", PUBLIC_PEM, "ab" * 31, "ä" * 44, "-----BEGIN PRIVATE KEY-----"])
def test_what_is_no_private_key(text: str) -> None:
    """Anything else is refused, and the text is not repeated: it may be a secret."""
    with pytest.raises(ConfigError) as raised:
        ed25519.signing_key(text)
    assert "hunter2" not in str(raised.value)


def test_no_signing_key_is_a_warning(write: Write) -> None:
    """`check` says what it means that nobody signs, and how to make a key."""
    (problem,) = found(write("cluster: here\n"))
    assert (problem.level, problem.path) == ("warning", "audit")
    assert "openssl genpkey" in problem.mend


def test_a_signing_key_that_is_none_is_an_error(write: Write, tmp_path: Path) -> None:
    """A file that holds something else is told at its line, without what it holds."""
    (tmp_path / "key").write_text("hunter2")
    (tmp_path / "key").chmod(0o600)
    (problem,) = found(write("cluster: here\naudit: {signing_key: {file: key}}\n"))
    assert (problem.level, problem.path, "hunter2" in str(problem)) == ("error", "audit.signing_key", False)


def test_a_public_key_that_is_none_is_an_error(write: Write) -> None:
    """A list with something else than keys keeps the configuration from being used."""
    with pytest.raises(ConfigError, match="Ed25519 public key"):
        load_settings(write("cluster: here\naudit: {verify_keys: [{public_key: nonsense}]}\n"), {})


def test_an_unknown_witness_is_an_error(write: Write, tmp_path: Path) -> None:
    """A witness is a principal."""
    (tmp_path / "key").write_text(PRIVATE_PEM)
    (tmp_path / "key").chmod(0o600)
    (problem,) = found(write("cluster: here\naudit: {signing_key: {file: key}, witnesses: [nobody]}\n"))
    assert (problem.level, problem.path) == ("error", "audit.witnesses[0]")


def test_who_is_trusted(write: Write, tmp_path: Path) -> None:
    """The signing key's checkpoints count, and so do those of each key that is listed."""
    (tmp_path / "key").write_text(PRIVATE_PEM)
    signing = load_settings(write("cluster: here\naudit: {signing_key: {file: key}}\n"), {}).audit
    listed = load_settings(
        write(f"cluster: here\naudit: {{verify_keys: [{{public_key: '{bytes(KEY.verify_key).hex()}'}}]}}\n"), {}
    ).audit
    neither = load_settings(write("cluster: here\n"), {}).audit
    signed = checkpoint(records(1), 1)
    assert [bool(trust_of(audit).doubt(signed)) for audit in (signing, listed, neither)] == [False, False, True]
