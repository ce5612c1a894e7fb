"""Cursors of lists: opaque to callers, the place behind the last item to us. They hold no secret and need no signature."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from aiohttp import web

from gateway.problems import Problem


def encode(place: bytes | None) -> str | None:
    return None if place is None else base64.urlsafe_b64encode(place).decode().rstrip("=")


def decode(cursor: str) -> bytes | None:
    """None for no cursor. Raises Problem 400 for one that we have not made."""
    if not cursor:
        return None
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise malformed() from None


def malformed() -> Problem:
    return Problem(400, "cursor.malformed", "cursor is not the next_cursor of a page; begin again without it")


def link(request: web.Request, cursor: str | None) -> Mapping[str, str]:
    """RFC 8288: where the next page is, with the same filters."""
    if cursor is None:
        return {}
    url = request.rel_url.update_query(cursor=cursor)
    return {"Link": f'<{url.raw_path_qs}>; rel="next"'}
