"""Rate limits in the bridge: what is over is stamped and nothing else happens to it; the state goes on with the checkpoint."""

from __future__ import annotations

from streams.bridge_encode import Encoder, Round
from streams.ingress import HEADER, Ingress
from streams.nats_pull import Arrived
from streams.rate_limits import RateLimits
from streams.settings import Limits
from streams.settings_policies import RateLimit
from tests.bridging import event
from tests.unit.bridge.test_bridge_encode import Batch, records

NS = 1_700_000_000_123_456_789
SLOW = RateLimit(name="slow", kind="rate_limit", events_per_s=1, burst_events=3)
BATCH = RateLimit(name="batch", kind="rate_limit", events_per_s=1, burst_events=4)


def encoder(*policies: RateLimit, first: int = 1, buckets: dict[str, int] | None = None) -> Encoder:
    limits = RateLimits(policies, buckets)
    names = {"stream": "SM_IN_c24", "principal": "c24", "cluster": "test"}
    return Encoder(**names, incarnation=9, first=first, partitions=4, limits=Limits(), rate_limits=limits)


def arrived(sequence: int, body: bytes, ns: int = NS) -> Arrived:
    return Arrived(b"$JS.ACK.SM_IN_c24.consumer.1.%d.%d.%d.3" % (sequence, sequence, ns), b"", body)


def over(encoded: Round) -> dict[tuple[int, int], str]:
    found = [Ingress.decode(dict(record["headers"])[HEADER]) for record in records(encoded)]
    return {(ingress.sequence, ingress.index): ingress.over for ingress in sorted(found, key=lambda i: i.mark)}


def test_what_exceeds_the_rate_is_stamped_and_not_lost() -> None:
    """Every message is a record with its own bytes; those over the rate name the policy."""
    encoded = encoder(SLOW).encode([arrived(n, event(n)) for n in range(1, 6)], Batch)
    assert list(over(encoded).values()) == ["", "", "", "slow", "slow"]
    assert encoded.limited == 2
    assert {record["value"] for record in records(encoded)} == {event(n) for n in range(1, 6)}


def test_each_event_of_a_batch_counts() -> None:
    """A batch is no way around a limit."""
    body = b"[" + b",".join(event(n) for n in range(6)) + b"]"
    assert list(over(encoder(SLOW, BATCH).encode([arrived(1, body)], Batch)).values()) == [
        "",
        "",
        "",
        "slow",
        "slow,batch",
        "slow,batch",
    ]


def test_what_is_no_event_counts_too() -> None:
    """Rubbish is no way around a limit; it goes on with its bytes, to quarantine."""
    encoded = encoder(SLOW).encode([arrived(n, b"rubbish") for n in range(1, 6)], Batch)
    assert list(over(encoded).values()) == ["", "", "", "slow", "slow"]
    assert {record["value"] for record in records(encoded)} == {b"rubbish"}


def test_the_door_s_time_counts() -> None:
    """JetStream's timestamps, not the bridge's clock: a backlog of an hour is no burst."""
    hour = [arrived(n, event(n), NS + n * 1_000_000_000) for n in range(1, 3600)]
    assert set(over(encoder(SLOW).encode(hour, Batch)).values()) == {""}


def test_a_bridge_that_goes_on_from_the_checkpoint_decides_alike() -> None:
    """The round's state belongs to its last sequence: whoever begins behind it stamps the same records."""
    messages = [arrived(n, event(n), NS + n * 400_000_000) for n in range(1, 41)]
    whole = over(encoder(SLOW, BATCH).encode(messages, Batch))
    assert "slow" in whole.values()
    for cut in (1, 7, 22):
        before = encoder(SLOW, BATCH).encode(messages[:cut], Batch)
        after = encoder(SLOW, BATCH, first=cut + 1, buckets=before.buckets).encode(messages[cut:], Batch)
        assert over(before) | over(after) == whole


def test_without_limits_a_record_is_what_it_was() -> None:
    """No ninth field, and nothing to remember."""
    encoded = encoder().encode([arrived(1, event(1))], Batch)
    (record,) = records(encoded)
    assert len(dict(record["headers"])[HEADER].split(b" ")) == 8
    assert encoded.buckets == {}
