"""From the log to a receiver: what is committed when. The log and the receiver are small fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.alerting import forwarder as module
from gateway.alerting.forwarder import Forwarder
from streams.alerts import Alert, alert_record
from streams.errors import Rejected, Retriable
from streams.settings import Settings
from tests.events import FakeRecord
from tests.unit.alerts.test_gate import alert


class Log:
    """[alerts] and the position of its group; `polls` fail as often as they are told to."""

    def __init__(self, *alerts: Alert) -> None:
        self.records = [FakeRecord(n, b"", alert_record(one)[1] or b"", ()) for n, one in enumerate(alerts)]
        self.committed = 0
        self.failing_commits = 0
        self.readers = 0

    def reader(self) -> Reader:
        self.readers += 1
        return Reader(self)


class Reader:
    def __init__(self, log: Log) -> None:
        self._log, self._position = log, log.committed

    async def start(self) -> None: ...

    async def aclose(self) -> None: ...

    async def poll(self, timeout_s: float) -> Sequence[Any]:
        await asyncio.sleep(0)
        found = self._log.records[self._position :][:3]
        self._position += len(found)
        return found

    async def commit(self) -> None:
        if self._log.failing_commits:
            self._log.failing_commits -= 1
            raise Retriable("another gateway has taken over")
        self._log.committed = self._position


class Receiver:
    name = "test"

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.taken: list[Alert] = []
        self.committed_before: list[int] = []

    async def send(self, alerts: Sequence[Alert]) -> None:
        if self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer
        if any(one.artifact == "chart/refused" for one in alerts):
            raise Rejected("never")
        self.taken += alerts

    async def aclose(self) -> None: ...


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_S_MIN", 0.0)


async def forwarded(log: Log, receiver: Receiver, *, until: Any, **alerts: Any) -> None:
    settings = Settings.model_validate({"cluster": "test", "alerts": alerts})
    forwarder = Forwarder(settings, receiver, log.reader)  # type: ignore[arg-type]
    await forwarder.start()
    async with asyncio.timeout(5):
        while not until():
            await asyncio.sleep(0.001)
    await forwarder.aclose()


def alerts(count: int) -> list[Alert]:
    return [alert(artifact=f"chart/{number}") for number in range(count)]


async def test_everything_arrives_in_order_and_is_committed() -> None:
    """In the order of the log."""
    log, receiver = Log(*alerts(8)), Receiver()
    await forwarded(log, receiver, until=lambda: log.committed == 8)
    assert receiver.taken == alerts(8)


async def test_nothing_is_committed_that_the_receiver_does_not_have() -> None:
    """While it is away its alerts wait; then they come, once."""
    log, receiver = Log(*alerts(2)), Receiver(Retriable("away"), Retriable("away"))
    seen: list[int] = []
    send = receiver.send

    async def watched(given: Sequence[Alert]) -> None:
        seen.append(log.committed)
        await send(given)

    receiver.send = watched  # type: ignore[method-assign]
    await forwarded(log, receiver, until=lambda: log.committed == 2)
    assert (seen, receiver.taken) == ([0, 0, 0], alerts(2))


async def test_a_commit_that_fails_sends_nothing_twice() -> None:
    """What is read again was sent by this gateway, and it remembers that."""
    log, receiver = Log(*alerts(3)), Receiver()
    log.failing_commits = 2
    await forwarded(log, receiver, until=lambda: log.committed == 3)
    assert (receiver.taken, log.readers) == (alerts(3), 3)


async def test_one_that_is_refused_for_good_keeps_no_other() -> None:
    """Of three that are refused together the bad one is given up."""
    good, bad, last = alert(artifact="chart/a"), alert(artifact="chart/refused"), alert(artifact="chart/b")
    log, receiver = Log(good, bad, last), Receiver()
    await forwarded(log, receiver, until=lambda: log.committed == 3)
    assert receiver.taken == [good, last]


async def test_a_record_that_is_no_alert_keeps_no_other() -> None:
    """It is passed over."""
    log, receiver = Log(*alerts(2)), Receiver()
    log.records[0] = FakeRecord(0, b"", b"\xff not JSON", ())
    await forwarded(log, receiver, until=lambda: log.committed == 2)
    assert receiver.taken == alerts(2)[1:]


async def test_what_is_suppressed_is_told_before_it_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that ends in that minute leaves it to the next one, which reads it again."""
    log, receiver, now_s = Log(*alerts(5)), Receiver(), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    reader = log.reader()
    forwarder = Forwarder(Settings.model_validate({"cluster": "test", "alerts": {"per_minute_max": 1}}), receiver)  # type: ignore[arg-type]
    task = asyncio.create_task(forwarder._forward(reader))  # type: ignore[arg-type]
    while reader._position < 5:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (len(receiver.taken), log.committed) == (1, 0)
    now_s[0] = 61.0
    while log.committed < 5:
        await asyncio.sleep(0)
    task.cancel()
    assert [one.rule for one in receiver.taken] == ["freeze", "alerts.suppressed"]
    assert receiver.taken[1].summary.startswith("4 more alerts")
