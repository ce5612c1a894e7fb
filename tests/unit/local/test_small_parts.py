"""Secrets, ports and how a download is shown."""

from __future__ import annotations

import io
import socket
import stat
from pathlib import Path

import pytest

from gateway.local.download import Bar, Lines, report_to
from gateway.local.ports import LOOPBACK, choose_port, is_free, is_open
from gateway.local.secrets import Secrets


def test_a_secret_stays_the_same(tmp_path: Path) -> None:
    """A second run finds the first one's secrets; two names have two secrets, long ones."""
    first = Secrets(tmp_path / "secrets").get("c4.nats")
    assert Secrets(tmp_path / "secrets").get("c4.nats") == first
    assert Secrets(tmp_path / "secrets").get("c8.nats") != first
    assert len(first) == 43


def test_only_this_user_reads_a_secret(tmp_path: Path) -> None:
    """Mode 0600 in a directory of mode 0700, with no drafts left."""
    path = Secrets(tmp_path / "secrets").path("c4.nats")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_the_settings_reveal_what_was_made(tmp_path: Path) -> None:
    """`ref` is what the settings need; the secret is in no repr of it."""
    secrets = Secrets(tmp_path / "secrets")
    assert secrets.ref("c4.nats").reveal() == secrets.get("c4.nats")
    assert secrets.get("c4.nats") not in repr(secrets.ref("c4.nats"))


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden"])
def test_a_secret_cannot_leave_its_directory(tmp_path: Path, name: str) -> None:
    """Names that could be paths are refused."""
    with pytest.raises(ValueError, match="no name for a secret"):
        Secrets(tmp_path).path(name)


def test_a_taken_port_is_worked_around() -> None:
    """The wish is granted when the port is free, and another is chosen when somebody listens there."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        assert is_open(port)
        assert not is_free(port)
        assert choose_port(port) != port
    assert choose_port(port) == port
    assert not is_open(port)


def test_chosen_ports_are_never_those_of_clients() -> None:
    """Ports from the system's own range could be taken by any client while the server restarts."""
    assert all(20_000 <= choose_port() <= 32_000 for _ in range(20))


def test_without_a_terminal_there_are_lines() -> None:
    """No control characters, and the amount that was fetched."""
    stream = io.StringIO()
    report = report_to(stream)
    assert isinstance(report, Lines)
    report.begin(2, 4_000_000)
    report.advance(4_000_000)
    report.end()
    assert stream.getvalue() == "fetching Kafka: 2 jars, 4.0 MB\nfetched 4.0 MB\n"


def test_a_terminal_gets_a_bar() -> None:
    """The bar ends at the whole amount."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    report = report_to(stream)
    assert isinstance(report, Bar)
    report.begin(2, 4_000_000)
    report.advance(4_000_000)
    report.end()
    assert "4.0/4.0 MB" in stream.getvalue()
