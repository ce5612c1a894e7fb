"""Delivers over NATS, one CloudEvent in binary mode: into the component's own JetStream stream, or as a request that it answers.

`publish`: the stream `SM_SYNC_<component>` keeps an update until the component has acknowledged it; the PubAck is the receipt. It is
a work queue and bounded: a component that does not take its updates fills it, and then it counts as away.
`request`: the reply is the receipt, JSON: `{"status": "ok"}`, `{"status": "retry", "retry_after_s": 2, "detail": "…"}` or
`{"status": "rejected", "detail": "…"}`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from agents.sinks.base import Delivery, before_first_byte
from streams.ce_headers import to_binary_headers
from streams.errors import Away, ConfigError, Rejected, Retriable
from streams.nats_door import ApiError, connect
from streams.nats_streams import ensure
from streams.settings import NatsSink as Config
from streams.settings import Settings


class Reply(msgspec.Struct):
    """A component's answer in mode `request`."""

    status: Literal["ok", "retry", "rejected"]
    detail: str = ""
    retry_after_s: float | None = None


class _ApiProblem(msgspec.Struct):
    description: str = ""
    err_code: int = 0


class _PubAck(msgspec.Struct):
    stream: str = ""
    error: _ApiProblem | None = None


_reply_decoder = msgspec.json.Decoder(Reply)
_ack_decoder = msgspec.json.Decoder(_PubAck)


class NatsSink:
    def __init__(self, name: str, config: Config, settings: Settings) -> None:
        self._name = name
        self._config = config
        self._settings = settings
        self._client: Client = Client()
        self._connecting: asyncio.Task[Any] | None = None
        self._has_stream = False
        self._making_stream = asyncio.Lock()

    async def deliver(self, delivery: Delivery) -> None:
        await self._wait_connected()
        if self._config.mode == "publish":
            await self._publish(delivery)
        else:
            _judge(await self._ask(delivery, {}))

    async def aclose(self) -> None:
        if self._connecting is None:
            return
        self._connecting.cancel()
        await asyncio.gather(self._connecting, return_exceptions=True)
        await self._client.close()

    async def _publish(self, delivery: Delivery) -> None:
        await self._ensure_stream()
        stream = sync_stream(self._name)
        message = await self._ask(delivery, {"Nats-Msg-Id": delivery.key, "Nats-Expected-Stream": stream})
        ack = _ack_decoder.decode(message.data)
        if ack.error is not None or ack.stream != stream:
            self._has_stream = False
            why = ack.error.description if ack.error else f"the stream {ack.stream!r} answered, which has the same subject"
            raise Away(f"the stream {stream} did not take it: {why}; see `nats stream info {stream}`")

    async def _ask(self, delivery: Delivery, headers: dict[str, str]) -> Msg:
        subject = self._config.subject.replace("{kind}", delivery.artifact.partition("/")[0])
        headers |= {
            "content-type": delivery.content_type,
            "ce-datacontenttype": delivery.content_type,
            **to_binary_headers(delivery.attributes),
        }
        before_first_byte.get()()
        try:
            return await self._client.request(subject, delivery.data, timeout=self._config.timeout_s, headers=headers)
        except errors.NoRespondersError:
            self._has_stream = False
            raise Away(f"nobody listens on {subject}; start the component") from None
        except TimeoutError:
            raise Away(f"no answer on {subject} within {self._config.timeout_s:g} s") from None
        except errors.MaxPayloadError:
            raise Rejected("the update is larger than the server's max_payload; compare limits.nats_payload_bytes_max") from None
        except (errors.Error, OSError) as exc:
            raise Away(f"NATS is away: {exc!r}") from exc

    async def _wait_connected(self) -> None:
        """The connection is made at the first delivery, and by itself ever after. Raises Away while there is none."""
        if self._client.is_connected:
            return
        nats = self._settings.nats
        if self._connecting is None or (self._connecting.done() and self._connecting.exception() is not None):
            opening = connect(self._client, nats, nats.worker_user, nats.worker_password, name=f"syncmaster sink {self._name}")
            self._connecting = asyncio.create_task(opening)
        await asyncio.wait([self._connecting], timeout=self._config.timeout_s)
        if self._connecting.done():
            failure = self._connecting.exception()
            if failure is not None:
                raise Away(str(failure)) from failure
        if not self._client.is_connected:
            raise Away("NATS is away: there is no connection; see nats.url, and whether the server runs")

    async def _ensure_stream(self) -> None:
        async with self._making_stream:
            if self._has_stream:
                return
            try:
                await ensure(self._client, stream_config(self._settings, self._name, self._config))
            except (ConfigError, ApiError, Retriable) as exc:
                raise Away(str(exc)) from exc
            self._has_stream = True


def sync_stream(component: str) -> str:
    return f"SM_SYNC_{component}"


def stream_config(settings: Settings, component: str, config: Config) -> dict[str, Any]:
    """The component's stream: acknowledged messages leave it; a full one takes no more, so that nothing in it is ever dropped."""
    return {
        "name": sync_stream(component),
        "description": f"updates for the component {component}, until it has acknowledged them",
        "subjects": [config.subject.replace("{kind}", "*")],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "max_age": 0,
        "max_msgs": -1,
        "max_bytes": settings.nats.stream_bytes_max,
        "max_msg_size": settings.limits.nats_payload_bytes_max,
        "duplicate_window": int(settings.nats.duplicate_window_s * 1e9),
        "num_replicas": settings.nats.stream_replicas,
    }


def _judge(message: Msg) -> None:
    try:
        reply = _reply_decoder.decode(message.data)
    except msgspec.DecodeError as exc:
        raise Retriable(f"the component's reply is not understood ({exc}); it should be like {{'status': 'ok'}}") from None
    if reply.status == "retry":
        raise Retriable(reply.detail or "the component asks to try again", reply.retry_after_s)
    if reply.status == "rejected":
        raise Rejected(reply.detail or "the component rejects it")
