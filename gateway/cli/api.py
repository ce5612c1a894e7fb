"""The gateway's HTTP API for commands: one call, one answer, and for everything that goes wrong a sentence and an exit code.

    @keys.command("list")
    def list_keys(url: Url = None, key_file: KeyFile = None, config: Config = None, output: Output = "text") -> None:
        with problems_told():
            keys = gateway_api(url, key_file, config).items("/v1/keys")
            show(keys, ("id", "principal", "expires"), output)

The key goes to the gateway that was named and nowhere else: proxies of the environment are not used, redirects are not followed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from gateway.cli.options import OutputFormat
from streams.errors import ConfigError, SyncMasterError

URL_VARIABLE = "SYNCMASTER_URL"
KEY_VARIABLE = "SYNCMASTER_API_KEY"
_TIMEOUT_S = 60.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
_NEXT_STEPS = {
    401: "give a key that is valid, in $SYNCMASTER_API_KEY or with --key-file; `syncmaster keys create` makes one",
    403: "`syncmaster auth can-i` tells what a principal may do, and which rule says so",
    404: "check the name; a list command shows what there is",
}
Query = Mapping[str, str | int | Sequence[str] | None]


class ApiError(SyncMasterError):
    """What the gateway did not do, and the next step. `status` is 0 when it was not reached; `code` is the problem's."""

    def __init__(self, status: int, code: str, detail: str, next_step: str = "") -> None:
        super().__init__(f"{detail}; {next_step}" if next_step else detail)
        self.status = status
        self.code = code


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Api:
    """One gateway and one key. Every method raises ApiError for what is not answered with 2xx."""

    def __init__(self, url: str, key: str) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ConfigError(f"{url!r} is no URL of a gateway; give one like http://127.0.0.1:8056")
        self._url = url.rstrip("/")
        self._key = key
        self._opener = build_opener(ProxyHandler({}), _Stay())

    def call(self, method: str, path: str, json: Any = None, query: Query | None = None) -> Any:
        """The decoded JSON answer; None when there is none. Path segments are the caller's to percent-encode."""
        text = self._read(self._open(method, path, json, query))
        return _decoded(text) if text else None

    def items(self, path: str, query: Query | None = None) -> Iterator[Any]:
        """The items of all pages of a list, in order; each page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            page = self.call("GET", path, query={**(query or {}), "cursor": cursor})
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def lines(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """The lines of a long text, as they arrive, without their ends."""
        with self._open("GET", path, None, query) as response:
            try:
                for line in response:
                    yield line.removesuffix(b"\n")
            except (OSError, HTTPException) as exc:
                raise self._unreachable(exc) from exc

    def _open(self, method: str, path: str, body: Any, query: Query | None) -> HTTPResponse:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = f"{self._url}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")
        headers = {"Authorization": f"Bearer {self._key}", "Accept": "application/json", "User-Agent": "syncmaster"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        request = Request(url, data, headers, method=method)  # noqa: S310 -- the scheme is checked above
        try:
            response: HTTPResponse = self._opener.open(request, timeout=_TIMEOUT_S)
        except HTTPError as exc:
            with exc:
                raise _refused(exc) from None
        except (OSError, HTTPException) as exc:
            raise self._unreachable(exc) from None
        return response

    def _read(self, response: HTTPResponse) -> bytes:
        with response:
            try:
                return response.read()
            except (OSError, HTTPException) as exc:
                raise self._unreachable(exc) from None

    def _unreachable(self, exc: Exception) -> ApiError:
        reason = getattr(exc, "reason", None) or exc
        detail = f"the gateway at {self._url} gives no answer ({reason})"
        return ApiError(0, "gateway.away", detail, "start it with `syncmaster gateway`, or name another with --url")


def gateway_api(url: str | None = None, key_file: Path | None = None, config: Path | None = None) -> Api:
    """The gateway and the key that options, environment and configuration name, in this order. Raises ConfigError."""
    return Api(url or os.environ.get(URL_VARIABLE) or _configured_url(config), _key(key_file))


@contextmanager
def problems_told() -> Iterator[None]:
    """What goes wrong within is one line on stderr and exit code 1."""
    try:
        yield
    except SyncMasterError as exc:
        print("\n".join(map(_visible, str(exc).splitlines())), file=sys.stderr)
        raise SystemExit(1) from None


def show(items: Any, columns: Sequence[str], output: OutputFormat = "text") -> None:
    """For people a table with these columns (names of members), for tools one JSON array with everything."""
    if output == "json":
        print(json.dumps(list(items), indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold")
    for item in items:
        table.add_row(*(Text(_shown(item.get(column))) for column in columns))
    Console().print(table)


def show_one(item: Mapping[str, Any], output: OutputFormat = "text") -> None:
    """For people a line per member, for tools one JSON object."""
    if output == "json":
        print(json.dumps(item, indent=2, ensure_ascii=False))
        return
    width = max(map(len, item), default=0)
    for name, value in item.items():
        print(f"{name.replace('_', ' '):<{width}}  {_shown(value)}")


def _shown(value: Any) -> str:
    """One cell."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(_shown, value))
        case dict():
            return ", ".join(f"{name}={_shown(part)}" for name, part in value.items())
    return _visible(str(value))


def _visible(text: str) -> str:
    """Control characters are written out: names come from elsewhere, and a terminal obeys what it is shown."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _configured_url(config: Path | None) -> str:
    from streams.config_file import load_settings

    gateway = load_settings(config, os.environ).gateway
    if gateway.port == 0:
        raise ConfigError(f"the configuration leaves the gateway's port open; give --url or set {URL_VARIABLE}")
    host = _ANYWHERE.get(gateway.host, gateway.host)
    return f"http://[{host}]:{gateway.port}" if ":" in host else f"http://{host}:{gateway.port}"


def _key(key_file: Path | None) -> str:
    try:
        key = key_file.read_text().strip() if key_file else os.environ.get(KEY_VARIABLE, "").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"cannot read an API key from {key_file}; name a file that you may read") from None
    if not key:
        raise ConfigError(f"there is no API key; set {KEY_VARIABLE}, or name a file with --key-file")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError("the API key has characters that no key has; copy it again, one line, as it was shown")
    return key


def _refused(error: HTTPError) -> ApiError:
    try:
        problem = json.loads(error.read())
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError, OSError, HTTPException):
        code, detail = "answer.not_ours", f"the answer was {error.code} {error.reason}, and not one of a gateway"
        return ApiError(error.code, code, detail, "check the URL")
    wait_s = error.headers.get("Retry-After")
    next_step = f"try again in {wait_s} s" if wait_s else _NEXT_STEPS.get(error.code, "")
    return ApiError(error.code, code, f"{detail} [{code}]", next_step)


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ApiError(200, "answer.not_ours", "the answer is not JSON", "check that the URL is that of a gateway") from None
