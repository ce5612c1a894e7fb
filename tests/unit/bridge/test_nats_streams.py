"""Streams and buckets, as far as they are pure: their configuration, times, and the purge that must never empty a stream."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio.client import Client

from streams.nats_streams import nanoseconds, publishers, purge_below, stream_config
from streams.nats_sync import weakness
from streams.settings import Settings
from tests.brokers import orbit


class NoNats:
    """Fails the test when anything is asked of it."""

    async def request(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing may be sent")


async def test_a_purge_with_sequence_zero_is_never_sent() -> None:
    """JetStream takes it for "everything"."""
    client: Client = NoNats()
    with pytest.raises(AssertionError, match="empties the stream"):
        await purge_below(client, "SM_IN_c4", 0)


def test_nanoseconds_are_exact() -> None:
    """The time of a message is compared for equality: no digit may be lost, however many there are."""
    assert nanoseconds("2026-11-23T13:41:58.272323875Z") == 1795441318272323875
    assert nanoseconds("2026-11-23T13:41:58.5Z") == 1795441318500000000
    assert nanoseconds("2026-11-23T13:41:58Z") == 1795441318000000000


def test_a_stream_keeps_what_the_log_does_not_have(tmp_path: Any) -> None:
    """No age, no dropping of old messages, on disk; bounded by the settings."""
    settings: Settings = orbit(tmp_path)
    config = stream_config(settings, "c4")
    assert (config["name"], config["subjects"]) == ("SM_IN_c4", ["sm.in.c4.>"])
    assert (config["storage"], config["discard"], config["max_age"]) == ("file", "new", 0)
    assert config["max_bytes"] == settings.nats.stream_bytes_max
    assert config["max_msg_size"] == settings.limits.nats_payload_bytes_max


def test_only_those_who_may_publish_have_a_stream(tmp_path: Any) -> None:
    """c12 and c28 only receive."""
    assert publishers(orbit(tmp_path)) == ["c24", "c4", "c8", "operator"]


def test_an_acknowledgement_that_means_less_than_on_disk_is_told() -> None:
    """Always synced is silence; an interval with one replica is a danger, with three a smaller one."""
    assert weakness({"sync_always": True, "sync_interval": 120_000_000_000}, 1) == ""
    assert "a power cut can lose acknowledged events" in weakness({"sync_interval": 120_000_000_000}, 1)
    assert "only a power cut of a majority" in weakness({"sync_interval": 120_000_000_000}, 3)
