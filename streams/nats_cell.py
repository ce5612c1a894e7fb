"""One key of a key-value bucket, written by compare-and-set: the bridge's checkpoint and its lease. What they mean is not known here."""

from __future__ import annotations

import base64
from typing import NamedTuple

from nats.aio.client import Client

from streams.errors import Fenced, Retriable
from streams.nats_door import ApiError, api, request

_MESSAGE_NOT_FOUND = 10037
_WRONG_LAST = (10071, 10164)
_ATTEMPTS = 3


class Entry(NamedTuple):
    """`value` is None where the key is absent or deleted; `revision` is what the next write has to name."""

    value: bytes | None
    revision: int


class Cell:
    def __init__(self, client: Client, bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._subject = f"$KV.{bucket}.{key}"

    async def read(self) -> Entry:
        """The leader's answer, never a follower's."""
        try:
            answer = await api(self._client, f"STREAM.MSG.GET.KV_{self._bucket}", {"last_by_subj": self._subject})
        except ApiError as exc:
            if exc.err_code == _MESSAGE_NOT_FOUND:
                return Entry(None, 0)
            raise Retriable(f"{self._subject} cannot be read: {exc}") from exc
        message = answer["message"]
        headers = base64.b64decode(message.get("hdrs", ""))
        gone = b"KV-Operation:" in headers or b"Nats-Marker-Reason:" in headers
        return Entry(None if gone else base64.b64decode(message.get("data", "")), message["seq"])

    async def write(self, value: bytes, revision: int) -> int:
        """Replace what has `revision`; returns the new one. `value` must be unlike any other writer's.

        A lost reply, or one that never came, looks like losing: so after any doubt the key is read back, and our own value there
        means that we have won. Raises Fenced where it is somebody else's, Retriable where nobody knows.
        """
        doubt: Exception | None = None
        for _ in range(_ATTEMPTS):
            try:
                return await self._put(value, revision)
            except (Retriable, ApiError) as exc:
                doubt = exc
            found = await self.read()
            if found.value == value:
                return found.revision
            if found.revision != revision:
                raise Fenced(f"{self._subject} was written by another bridge (revision {found.revision}, ours was {revision})")
        raise Retriable(f"{self._subject} cannot be written: {doubt}") from doubt

    async def clear(self, revision: int) -> None:
        """Delete the key, if it still has `revision`."""
        headers = {"KV-Operation": "DEL", "Nats-Expected-Last-Subject-Sequence": str(revision)}
        try:
            await request(self._client, self._subject, b"", headers)
        except ApiError as exc:
            if exc.err_code not in _WRONG_LAST:
                raise Retriable(f"{self._subject} cannot be deleted: {exc}") from exc

    async def _put(self, value: bytes, revision: int) -> int:
        answer = await request(self._client, self._subject, value, {"Nats-Expected-Last-Subject-Sequence": str(revision)})
        return int(answer["seq"])
