"""Refused logins in the audit: all of them, in a measure that nobody can use to fill it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway import refusals
from gateway.refusals import ELSEWHERE, Refusals, Refused
from gateway.remotes import remote_of
from streams import metrics
from streams.commands import Command
from streams.errors import Retriable


class Log:
    def __init__(self) -> None:
        self.commands: list[tuple[str, Command]] = []
        self.away = False

    async def append(self, commands: Iterable[tuple[str, Command]]) -> dict[int, int]:
        if self.away:
            raise Retriable("away")
        self.commands += commands
        return {}

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(command.remote, command.detail) for _, command in self.commands]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def refused(remote: str = "10.0.0.1", **fields: str) -> Refused:
    return Refused("auth.unknown_key", remote, **{"route": "/v1/sync"} | fields)


async def test_the_first_is_a_record_at_once(log: Log, clock: Any) -> None:
    """With code, address, route, and whose key it was."""
    kept = Refusals(log)  # type: ignore[arg-type]
    kept.refused(refused(principal="c8", key_id="k1"))
    await kept._flush()
    ((key, command),) = log.commands
    assert (key, command.verb, command.code, command.remote) == ("gateway/c8", "record", "auth.unknown_key", "10.0.0.1")
    assert (command.principal, command.subject, command.detail) == ("c8", "k1", "at /v1/sync")


async def test_a_flood_is_two_records_and_counts_all(log: Log, clock: Any) -> None:
    """A thousand refusals from one address within the window: the first, and one that tells the number of the rest."""
    kept = Refusals(log)  # type: ignore[arg-type]
    before = metrics.LOGINS_REFUSED.labels("auth.unknown_key")._value.get()
    for _ in range(1000):
        kept.refused(refused())
    clock(10.0)
    kept._sweep(time.monotonic())
    await kept._flush()
    assert log.told == [("10.0.0.1", "at /v1/sync"), ("10.0.0.1", "999 within 10 s; the last at /v1/sync")]
    assert metrics.LOGINS_REFUSED.labels("auth.unknown_key")._value.get() - before == 1000


async def test_one_address_does_not_hide_another(log: Log, clock: Any) -> None:
    """Each has a window of its own."""
    kept = Refusals(log)  # type: ignore[arg-type]
    for remote in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        kept.refused(refused(remote))
    await kept._flush()
    assert [remote for remote, _ in log.told] == ["10.0.0.1", "10.0.0.2"]


async def test_many_addresses_are_bounded(log: Log, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound they are told together, as from elsewhere; memory and audit stay small."""
    monkeypatch.setattr(refusals, "_REMOTES_MAX", 3)
    kept = Refusals(log)  # type: ignore[arg-type]
    for n in range(50):
        kept.refused(refused(f"10.0.0.{n}"))
    clock(10.0)
    kept._sweep(time.monotonic())
    await kept._flush()
    assert [remote for remote, _ in log.told] == ["10.0.0.0", "10.0.0.1", "10.0.0.2", ELSEWHERE, ELSEWHERE]
    assert log.told[-1][1].startswith("46 within")


async def test_what_cannot_be_written_is_kept(log: Log, clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the log is away the newest wait, within a bound, and what is given up is counted."""
    monkeypatch.setattr(refusals, "_WAITING_MAX", 2)
    kept, log.away = Refusals(log), True  # type: ignore[arg-type]
    given_up = metrics.LOGINS_UNAUDITED._value.get()
    for n in range(3):
        kept.refused(refused(f"10.0.0.{n}"))
    assert not await kept._flush()
    log.away = False
    assert await kept._flush()
    assert [remote for remote, _ in log.told] == ["10.0.0.1", "10.0.0.2"]
    assert metrics.LOGINS_UNAUDITED._value.get() - given_up == 1


@pytest.mark.parametrize(
    ("peer", "forwarded", "remote"),
    [
        ("10.0.0.9", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.9", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.9", ["6.6.6.6, 1.2.3.4, 10.0.0.8"], "1.2.3.4"),
        ("10.0.0.9", ["1.2.3.4", "10.0.0.8"], "1.2.3.4"),
        ("10.0.0.9", ["nonsense"], "10.0.0.9"),
        ("10.0.0.9", [], "10.0.0.9"),
        ("9.9.9.9", ["1.2.3.4"], "9.9.9.9"),
    ],
)
def test_only_our_proxies_are_believed(peer: str, forwarded: list[str], remote: str) -> None:
    """The nearest address that is no proxy of ours; what a stranger claims about itself is not looked at."""
    request = make_mocked_request("GET", "/", headers=[("X-Forwarded-For", line) for line in forwarded])  # type: ignore[arg-type]
    request = request.clone(remote=peer)
    assert remote_of(request, [ip_network("10.0.0.0/8")]) == remote
