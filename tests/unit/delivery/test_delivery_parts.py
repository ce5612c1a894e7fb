"""The small pure parts of delivery: routes, newest, backoff, gate, what a delivery holds, what an HTTP answer means."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from agents.backoff import Backoff
from agents.delivery import log_record, render
from agents.newest import greatest
from agents.routing import Routing, Target
from agents.sinks.gate import Gate
from agents.sinks.sink_http import answer_error, problem_detail, retry_after_s
from streams.errors import Away, Rejected, Retriable
from streams.settings import Settings
from tables.model import Version
from tests.deliveries import INGRESS, accepted

SETTINGS = Settings.model_validate(
    {
        "cluster": "test",
        "components": {
            "portal": {"sink": {"type": "http", "url": "http://127.0.0.1:1/"}},
            "store": {"sink": {"type": "log"}},
        },
        "routes": [
            {
                "name": "charts",
                "match": {"artifacts": ["chart/*", "environment/prod"]},
                "to": ["store", "portal"],
                "mode": "every",
            },
            {"name": "all", "match": {"artifacts": ["*"]}, "to": ["portal"], "newest": "semver"},
        ],
    }
)


class TestRouting:
    def test_first_route_wins(self) -> None:
        """A component that several routes name for an artifact is served by the first of them."""
        assert Routing(SETTINGS).targets("chart/a/b") == (
            Target("store", "every", "accepted", "log"),
            Target("portal", "every", "accepted", "http"),
        )
        assert Routing(SETTINGS).targets("image/a") == (Target("portal", "latest", "semver", "http"),)

    def test_patterns_match_whole_keys(self) -> None:
        """A pattern without `*` means that artifact alone."""
        assert Routing(SETTINGS).target("environment/prod-2", "store") is None
        assert Routing(SETTINGS).target("environment/prod", "store") is not None

    def test_targets_are_shared(self) -> None:
        """Artifacts with the same targets share one list, so that the cache stays small."""
        routing = Routing(SETTINGS)
        assert routing.targets("chart/a") is routing.targets("chart/b")


class TestNewest:
    @pytest.mark.parametrize(
        ("current", "candidate", "expected"),
        [
            ("", "x", "x"),
            ("1.9.0", "1.10.0", "1.10.0"),
            ("1.10.0", "1.9.0", "1.10.0"),
            ("1.0.0", "1.0.0-rc.1", "1.0.0"),
            ("1.0.0-rc.2", "1.0.0-rc.10", "1.0.0-rc.10"),
            ("v1.0.0", "v1.1", "v1.1"),
            ("1.0.0", "v1.0.0", "v1.0.0"),
            ("1.0.0+a", "1.0.0+b", "1.0.0+b"),
            ("0.0.1", "latest", "0.0.1"),
            ("latest", "0.0.1-a", "0.0.1-a"),
            ("latest", "main", "main"),
        ],
    )
    def test_greatest(self, current: str, candidate: str, expected: str) -> None:
        """SemVer 2 decides; equal ones and those that are not SemVer go by the order of acceptance."""
        assert greatest(current, candidate) == expected


class TestBackoff:
    def test_full_jitter(self) -> None:
        """The bound doubles with each failure up to the maximum, and the wait is a uniform draw below it."""
        half = Backoff(0.5, 300.0, lambda: 0.5)
        assert [half.delay_ms(n) for n in (1, 2, 3, 11, 10_000)] == [250, 500, 1000, 150_000, 150_000]
        assert Backoff(0.5, 300.0, lambda: 0.0).delay_ms(5) == 1


class TestGate:
    def test_closes_and_probes(self) -> None:
        """Once the component is away nothing is admitted until the backoff's end; then one probe at a time, until one reaches it."""
        gate = Gate(Backoff(1.0, 300.0, lambda: 1.0), 300.0)
        first, second = gate.enter(), gate.enter()
        assert gate.away(first, 0)
        assert not gate.away(second, 0), "only the failure that closed the gate is told"
        assert not gate.admits(999)
        assert gate.admits(1000)
        probe = gate.enter()
        assert not gate.admits(1000)
        assert gate.away(probe, 1000)
        assert (gate.admits(2999), gate.admits(3000)) == (False, True)
        gate.enter()
        assert gate.reached()
        assert gate.admits(3000)
        assert not gate.reached()

    def test_abandoned_probe(self) -> None:
        """A probe that ends without any answer makes room for the next one."""
        gate = Gate(Backoff(1.0, 300.0, lambda: 1.0), 300.0)
        gate.away(gate.enter(), 0)
        gate.abandoned(gate.enter())
        assert gate.admits(1000)


class TestRender:
    def test_attributes(self) -> None:
        """A delivery holds the event's attributes, the door's stamps, and what SyncMaster knows; the door's word overwrites the sender's."""
        version = accepted("1.2.3", 5, smprincipal="somebody else", smkey="forged")
        version = msgspec.structs.replace(version, digest="sha256:" + "0" * 64)
        delivery = render("store", "chart/a", 9, "1.2.3", version)
        assert delivery.key == "chart/a@9/store"
        assert {name: delivery.attributes[name] for name in delivery.attributes if name.startswith("sm")} == {
            "smprincipal": "c24",
            "smcluster": "test",
            "smingress": "nats",
            "smartifact": "chart/a",
            "smversion": "1.2.3",
            "smdigest": "sha256:" + "0" * 64,
            "smgeneration": "9",
            "smkey": "chart/a@9/store",
        }
        assert (json.loads(delivery.data), delivery.content_type) == ({"version": "1.2.3"}, "application/json")

    def test_same_from_any_encoding(self) -> None:
        """A body that is kept as base64 gives the same delivery."""
        plain = accepted("1.2.3", 5)
        text = base64.b64encode(bytes(plain.body)).decode()
        encoded = msgspec.structs.replace(plain, body=msgspec.Raw(msgspec.json.encode(text)), body_is_base64=True)
        assert render("c", "chart/a", 5, "1.2.3", encoded) == render("c", "chart/a", 5, "1.2.3", plain)

    def test_binary_event(self) -> None:
        """An event that came in binary mode is delivered with the attributes of its headers."""
        headers = {"ce-specversion": "1.0", "ce-id": "e", "ce-source": "/s", "ce-type": "t.x", "content-type": "application/json"}
        version = Version(1, None, accepted("1", 1).action, INGRESS.encode().decode(), headers, msgspec.Raw(b'{"a":1}'))
        delivery = render("c", "chart/a", 1, "1", version)
        assert (delivery.attributes["source"], delivery.data) == ("/s", b'{"a":1}')

    def test_log_record(self) -> None:
        """A log sink's record names what changed and the event that said so, in a few hundred bytes."""
        record = log_record("store", "chart/argo-cd", 5, "1.2.3", accepted("1.2.3", 5))
        assert json.loads(record) == {
            "artifact": "chart/argo-cd",
            "generation": 5,
            "version": "1.2.3",
            "digest": None,
            "type": "dev.cdevents.artifact.published.0.2.0",
            "id": "e5",
            "source": "/c24",
            "action": "published",
        }
        assert len(record) < 300


class TestHttpAnswer:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (301, Rejected), (307, Rejected), (400, Rejected), (404, Rejected), (409, Rejected), (410, Rejected), (422, Rejected),
            (408, Retriable), (425, Retriable), (500, Retriable), (501, Retriable),
            (401, Away), (429, Away), (502, Away), (503, Away), (504, Away),
        ],
    )  # fmt: skip
    def test_status(self, status: int, kind: type) -> None:
        """Each status that is no receipt means one thing: rejected, this update again, or the component away."""
        assert type(answer_error(status, None, b"", now_s=0)) is kind

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            ("7", 7.0),
            (" 7 ", 7.0),
            ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
            ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
            ("soon", None),
            ("-5", None),
        ],
    )
    def test_retry_after(self, header: str, seconds: float | None) -> None:
        """`Retry-After` is read as seconds or as a date; what is neither is no wish."""
        assert retry_after_s(header, now_s=100.0) == seconds

    @pytest.mark.parametrize(
        ("body", "detail"),
        [
            (b'{"title": "Bad", "detail": "no\\nsuch chart"}', "no such chart"),
            (b'{"title": "Bad"}', "Bad"),
            (b"<html>\xff</html>", "<html>\ufffd</html>"),
            (b"[" * 100_000, "[" * 300),
            (b"", ""),
        ],
    )
    def test_detail(self, body: bytes, detail: str) -> None:
        """The reason is the problem's detail, or the body's beginning as one bounded line."""
        assert problem_detail(body) == detail
