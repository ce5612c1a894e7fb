"""Where a record of [events] came from: identity, principal, cluster, time. One header, `sm-ingress`, stamped by the bridge.

The header is ASCII, fields divided by one space, so that it can be read in any Kafka tool and parsed with one split:

    <stream> <incarnation> <sequence> <index> <ingress_ms> <door> <principal> <cluster>[ <over>]

*Identity* is (stream, incarnation, sequence, index) and totally ordered within a stream: the incarnation rises when the stream
was made anew or lost its tail, `index` counts the events of one message. `ingress_ms` is JetStream's own timestamp of the
message, so a repetition carries the same one. `over` is there for events beyond a rate limit: the names of those policies, divided
by commas.
"""

from __future__ import annotations

import msgspec

HEADER = "sm-ingress"

#: (incarnation, sequence, index): compares as the stream's order.
Mark = tuple[int, int, int]


class Ingress(msgspec.Struct, frozen=True, gc=False):
    stream: str
    incarnation: int
    sequence: int
    index: int
    ingress_ms: int
    door: str  # "nats" | "http"
    principal: str
    cluster: str
    over: str = ""

    @property
    def mark(self) -> Mark:
        return (self.incarnation, self.sequence, self.index)

    def encode(self) -> bytes:
        return (
            f"{self.stream} {self.incarnation} {self.sequence} {self.index} "
            f"{self.ingress_ms} {self.door} {self.principal} {self.cluster}{self.over and ' ' + self.over}"
        ).encode("ascii")

    @classmethod
    def decode(cls, raw: bytes) -> Ingress:
        """Parse what `encode` made. Raises ValueError on anything else: only the bridge writes [events]."""
        stream, incarnation, sequence, index, ms, door, principal, cluster = raw.decode("ascii").split(" ", 7)
        over = ""
        if " " in cluster:
            cluster, over = cluster.split(" ")
        return cls(stream, int(incarnation), int(sequence), int(index), int(ms), door, principal, cluster, over)
