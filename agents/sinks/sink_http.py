"""Delivers over HTTP: POSTs one CloudEvent in binary mode with an idempotency key; the status is the component's answer.

2xx                            delivered
429 502 503 504, no answer     away: everything for this component waits, for as long as `Retry-After` says at least
401 407                        away: our credential is wrong, which says nothing about the update
408 425 and any other 5xx      this update is tried again
anything else, redirects too   rejected for good; the problem's detail (RFC 9457) is kept
"""

from __future__ import annotations

import contextlib
import json
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from agents.sinks.base import Delivery, before_first_byte
from streams.ce_headers import encode_value, to_binary_headers
from streams.errors import Away, ConfigError, Rejected, Retriable, SyncMasterError
from streams.settings import HttpSink as Config
from streams.settings import SecretRef

ANSWER_BYTES_MAX = 16_384
_DETAIL_CHARACTERS_MAX = 300
_AWAY = {401, 407, 429, 502, 503, 504}
_AGAIN = {408, 425}


class HttpSink:
    def __init__(self, config: Config, *, connections_max: int = 16) -> None:
        self._config = config
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, delivery: Delivery) -> None:
        try:
            async with self._open().post(
                self._config.url, data=delivery.data, headers=self._headers(delivery), allow_redirects=False
            ) as response:
                await _judge(response, self._config.bearer)
        except TimeoutError:
            raise Away(f"no answer within {self._config.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as exc:
            raise Away(f"cannot reach the component: {exc or type(exc).__name__}") from exc
        except ConfigError as exc:
            raise Away(str(exc)) from exc

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:  # a session belongs to a running loop, so not in the constructor
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections_max),
                timeout=aiohttp.ClientTimeout(total=self._config.timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                request_class=_Request,
            )
        return self._session

    def _headers(self, delivery: Delivery) -> dict[str, str]:
        headers = {
            "Content-Type": delivery.content_type,
            "Idempotency-Key": encode_value(delivery.key),
            "User-Agent": "syncmaster",
            **to_binary_headers(delivery.attributes),
        }
        if self._config.bearer is not None:
            headers["Authorization"] = f"Bearer {self._config.bearer.reveal()}"
        return headers


class _Request(aiohttp.ClientRequest):
    """Asks once more when there is a connection: getting one can take as long as the component likes."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        before_first_byte.get()()
        return await super().send(conn)


async def _judge(response: aiohttp.ClientResponse, bearer: SecretRef | None) -> None:
    """Raises what the answer means. The body of a receipt is read only so that the connection can be used again.

    Some components answer with what they were sent: our own secret is taken out before anybody keeps it as the reason.
    """
    if 200 <= response.status < 300:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await _head(response)
        return
    body = await _head(response)
    if bearer is not None:
        body = bearer.hidden_in(body)
    raise answer_error(response.status, response.headers.get("Retry-After"), body, now_s=time.time())


def answer_error(status: int, retry_after: str | None, body: bytes, *, now_s: float) -> SyncMasterError:
    """What an answer that is no receipt means. Pure."""
    detail = f"HTTP {status}: {problem_detail(body)}".rstrip(": ")
    if status in _AWAY:
        hint = "; check the sink's `bearer`" if status in {401, 407} else ""
        return Away(detail + hint, retry_after_s(retry_after, now_s))
    if status in _AGAIN or status >= 500:
        return Retriable(detail, retry_after_s(retry_after, now_s))
    return Rejected(detail)


def problem_detail(body: bytes) -> str:
    """`detail` (or `title`) of an RFC 9457 problem; else the body's beginning, as one line."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    text = body.decode(errors="replace")
    if isinstance(problem, dict):
        text = str(problem.get("detail") or problem.get("title") or text)
    return " ".join(text.split())[:_DETAIL_CHARACTERS_MAX]


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """`Retry-After` in seconds from now: a number of seconds or an HTTP date (RFC 9110, 10.2.3); None if there is none."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header[:12])
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - now_s)
    except ValueError:
        return None


async def _head(response: aiohttp.ClientResponse) -> bytes:
    """The body's beginning, bounded."""
    body = bytearray()
    while len(body) < ANSWER_BYTES_MAX:
        chunk = await response.content.read(ANSWER_BYTES_MAX - len(body))
        if not chunk:
            break
        body += chunk
    return bytes(body)
