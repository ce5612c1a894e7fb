"""The bridge's floor: pulls a stream with overlapping requests and throws the messages away. Nothing is acknowledged, parsed or kept.

Arguments: url user password-file stream messages client, the last being `nats-py` (its subscription and callback, without limits) or
`own` (the reader of the wire that SyncMaster's bridge has). Three pulls of 5,000 messages are open at any time. Prints
`at <messages> <cpu_s> <unix_s>` when a fifth has passed, and at the end.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import uvloop
from nats.aio.client import Client

from streams.bridge_pull import Puller
from streams.nats_pull import PullClient
from streams.settings import Bridge, Limits

_BATCH, _OVERLAP = 5000, 3


class Count:
    """How many messages there were; says so twice."""

    def __init__(self, messages: int) -> None:
        self.seen = 0
        self.end = asyncio.Event()
        self._marks = [messages // 5, messages]
        self._begun = f"at 0 {time.process_time()} {time.time()}"

    def add(self, count: int) -> None:
        self.seen += count
        if len(self._marks) == 2 and self.seen >= self._marks[1]:  # so few that all came at once
            print(self._begun, flush=True)
            self._marks.pop(0)
        if self.seen >= self._marks[0]:
            print(f"at {self.seen} {time.process_time()} {time.time()}", flush=True)
            self._marks.pop(0)
            if not self._marks:
                self.end.set()
                self._marks = [sys.maxsize]


async def nats_py(client: Client, stream: str, count: Count) -> None:
    name = f"raw-{os.getpid()}"
    api = f"$JS.API.CONSUMER.{{}}.{stream}.{name}"
    config = {"name": name, "deliver_policy": "all", "ack_policy": "none", "inactive_threshold": int(30e9), "mem_storage": True}
    await client.request(api.format("CREATE"), json.dumps({"stream_name": stream, "config": config}).encode(), timeout=5)
    inbox, asked = client.new_inbox(), 0
    more = json.dumps({"batch": _BATCH, "expires": int(60e9)}).encode()

    async def take(_: Any) -> None:
        nonlocal asked
        count.add(1)
        if count.seen > asked - (_OVERLAP - 1) * _BATCH:
            asked += _BATCH
            await client.publish(api.format("MSG.NEXT"), more, reply=inbox)

    await client.subscribe(inbox, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1)
    for _ in range(_OVERLAP):
        asked += _BATCH
        await client.publish(api.format("MSG.NEXT"), more, reply=inbox)
    await count.end.wait()


async def own(client: PullClient, stream: str, count: Count) -> None:
    bridge = Bridge(pull_messages_max=_BATCH, pulls_in_flight=_OVERLAP, pull_bytes_max=16 << 20)
    puller = Puller(client, stream, bridge, Limits())
    await puller.start(1)
    while not count.end.is_set():
        taken = await puller.take()
        count.add(len(taken.messages))
        await puller.release(taken.arrived)


async def main(url: str, user: str, password: str, *, stream: str, messages: int, kind: str) -> None:
    client: Any = PullClient() if kind == "own" else Client()
    await client.connect(url, user=user, password=password, inbox_prefix=f"_INBOX_{user}")
    await {"own": own, "nats-py": nats_py}[kind](client, stream, Count(messages))
    await asyncio.Event().wait()  # until the harness has looked at it


if __name__ == "__main__":
    url, user, password_file, stream, messages, kind = sys.argv[1:]
    uvloop.run(main(url, user, Path(password_file).read_text(), stream=stream, messages=int(messages), kind=kind))
