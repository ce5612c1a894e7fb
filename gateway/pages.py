"""The status page and its login: rendered here, complete without JavaScript; with it, the page fetches itself again every 2 s.

Style and script are inlined under a nonce, so that the only thing anybody gets without a key is the login form.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agents.authz import Resource
from gateway.api_keys import LoginRefused
from gateway.auth import require_own_origin
from gateway.operations.holds import may_release
from gateway.operations.status import get_status
from gateway.problems import Problem
from gateway.registry import KEYRING, Call, Registry
from gateway.serving import read_body
from gateway.sessions import SESSION_COOKIE, SESSION_S

routes = Registry("page")
HTML = "text/html"
_HERE = Path(__file__).parent
_FORM = "application/x-www-form-urlencoded"
_FIELDS_MAX = 10
_PAGES = ("/", "/audit")
_POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def _age(seconds: float) -> str:
    """`3 s`, `4 min`, `2 h`, `5 d`; the script's `ago` says the same."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


_templates = Environment(
    loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
_templates.filters["age"] = _age
_templates.filters["count"] = lambda number: f"{number:,}".replace(",", "\u202f")
_ASSETS = {name: (_HERE / "static" / name).read_text() for name in ("page.css", "page.js")}


@routes.get("/", verbs=("read",), produces=HTML)
async def show_status(call: Call) -> web.Response:
    """The status page: is everything in step, component by component."""
    status = get_status(call.context)
    releasable = {hold.id for hold in status.holds if may_release(call.known, hold.artifacts, hold.component)}
    kept = {entry.artifact for entry in status.quarantine.shown}
    decidable = {artifact for artifact in kept if call.known.may("quarantine", Resource(artifact=artifact))}
    return html_page("status.html", 200, {}, status=status, releasable=releasable, decidable=decidable, principal=call.principal)


@routes.post("/login", verbs=(), status=303, produces=HTML, accepts=(_FORM,), refusals=(401, 403))
async def log_in(call: Call) -> web.Response:
    """Open a session for the status page with an API key."""
    require_own_origin(call.request)
    try:
        cookie = call.request.app[KEYRING].open_session(await _key_of_form(call.request))
    except LoginRefused as refused:
        call.refused(refused)
        return login_page(f"{refused.detail[:1].upper()}{refused.detail[1:]}.")
    response = web.Response(status=303, headers={"Location": "/"})
    response.set_cookie(
        SESSION_COOKIE, cookie, max_age=SESSION_S, path="/", httponly=True, samesite="Strict", secure=_is_https(call.request)
    )
    return response


@routes.post("/logout", verbs=(), status=303, produces=HTML, refusals=(403,))
async def log_out(call: Call) -> web.Response:
    """End the session."""
    require_own_origin(call.request)
    response = web.Response(status=303, headers={"Location": "/"})
    response.del_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="Strict")
    return response


async def _key_of_form(request: web.Request) -> str:
    """Read here and not by aiohttp: the charset, the boundaries and the files of a form are nothing that a sender should choose."""
    if request.content_type != _FORM:
        raise Problem(415, "body.media_type", f"this path takes {_FORM}")
    try:
        fields = parse_qs((await read_body(request)).decode(errors="replace"), max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise Problem(400, "body.invalid", f"the form has more than {_FIELDS_MAX} fields") from None
    return fields.get("key", [""])[0]


def login_page(reason: str = "") -> web.Response:
    """Says 401 like any answer without a key, and how to give one."""
    return html_page("login.html", 401, {"WWW-Authenticate": 'Bearer realm="syncmaster"'}, reason=reason)


def page_for(request: web.Request, problem: Problem) -> web.Response | None:
    """The login form, for a person with a browser who has no valid session."""
    wants_html = HTML in request.headers.get("Accept", "")
    return login_page() if problem.status == 401 and request.path in _PAGES and wants_html else None


def html_page(template: str, code: int, headers: dict[str, str], **values: Any) -> web.Response:
    """A template with style and script under a nonce, and a policy that allows nothing else."""
    nonce = secrets.token_urlsafe(16)
    text = _templates.get_template(template).render(nonce=nonce, assets=_ASSETS, **values)
    policy = {"Content-Security-Policy": _POLICY.format(nonce=nonce)}
    return web.Response(status=code, text=text, content_type=HTML, headers=policy | headers)


def _is_https(request: web.Request) -> bool:
    """Behind a proxy that ends TLS, too: believing the header can only make the cookie stricter."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
