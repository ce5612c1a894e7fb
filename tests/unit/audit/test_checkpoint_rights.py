"""Who may say and hear checkpoints over NATS."""

from __future__ import annotations

from pathlib import Path

from gateway.nats_config.rights import users
from streams.audit_stream import AUDIT_STREAM, stream_config
from tests.brokers import orbit


def test_only_workers_publish_checkpoints(tmp_path: Path) -> None:
    """No principal, not even a witness, may publish what looks like a checkpoint."""
    settings = orbit(tmp_path, audit={"witnesses": ["c8"]})
    publishers = {name for name, rights in users(settings).items() if any(s.startswith("sm.audit") for s in rights.publish)}
    assert publishers == {settings.nats.worker_user}


def test_only_witnesses_read_checkpoints(tmp_path: Path) -> None:
    """A witness may consume the stream; nobody may change it but the workers, who keep it as configured."""
    settings = orbit(tmp_path, audit={"witnesses": ["c8"]})
    asks = {name: [s for s in rights.publish if AUDIT_STREAM in s] for name, rights in users(settings).items()}
    assert {name for name, found in asks.items() if found} - {settings.nats.bridge_user} == {"c8", settings.nats.worker_user}
    assert not any(verb in subject for subject in asks["c8"] for verb in ("STREAM.CREATE", "UPDATE", "DELETE", "PURGE"))


def test_stream_cannot_be_thinned_out(tmp_path: Path) -> None:
    """Nothing leaves the stream but by age, and what is oldest when it is full."""
    config = stream_config(orbit(tmp_path))
    assert (config["deny_delete"], config["deny_purge"], config["discard"]) == (True, True, "old")
    assert config["max_age"] == 365 * 86_400 * 10**9
