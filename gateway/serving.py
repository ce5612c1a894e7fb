"""Serves what the registry declares: who is asking and whether they may, then query and body, then the handler, then its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from agents.authz import Resource
from gateway import tokens
from gateway.caller import Caller
from gateway.problems import Problem, invalid
from gateway.registry import CONTEXT, JSON, KEYRING, Call, Operation, Query, Read, Registry, Reply

_BODY_TIMEOUT_S = 30.0


def add_routes(app: web.Application, registries: list[Registry]) -> None:
    for operation in (operation for registry in registries for operation in registry.operations):
        route = app.router.add_get if operation.method == "GET" else app.router.add_post
        route(operation.path, _server_of(operation))


def _server_of(operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        context, caller = request.app[CONTEXT], None
        try:
            if operation.guarded:
                caller = request.app[KEYRING].authenticate(request)
                _require(caller, operation, request.match_info)
            return await _handled(operation, Call(context, caller, request))
        except Problem as problem:
            if problem.code.startswith("auth."):
                Call(context, caller, request).refused(problem)
            raise

    return serve


async def _handled(operation: Operation, call: Call) -> web.StreamResponse:
    arguments: dict[str, Any] = {name: call.request.match_info[name] for name in operation.segments}
    if operation.query is not None:
        arguments["query"] = query = _parse_query(operation.query, call.request.query)
        if isinstance(query, Read) and query.min_token:
            await tokens.wait_applied(call.context, query.min_token)
    if operation.body is not None:
        arguments["body"] = await _parse_body(operation.body, call.request)
    return _response(operation, await operation.handler(call, **arguments))


def _require(caller: Caller, operation: Operation, segments: Mapping[str, str]) -> None:
    resource = Resource(artifact=segments.get(operation.artifact, ""), component=segments.get(operation.component, ""))
    if operation.anyone:
        return
    if operation.judged:
        allowed = any(caller.may_some(verb) for verb in operation.verbs)
    else:
        allowed = any(caller.may(verb, resource) for verb in operation.verbs)
    if not allowed:
        raise caller.denied(operation.verbs, None if operation.judged else resource)


def _response(operation: Operation, answer: Any) -> web.StreamResponse:
    if isinstance(answer, web.StreamResponse):
        return answer
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    status = reply.status or operation.status
    if reply.body is None:
        return web.Response(status=status, headers=reply.headers)
    text = reply.body.model_dump_json(by_alias=True)
    return web.Response(status=status, text=text, content_type=JSON, headers=reply.headers)


def _parse_query(model: type[Query], given: MultiMapping[str]) -> Query:
    values: dict[str, Any] = {}
    for name in given:
        several = given.getall(name)
        values[name] = several if name == "min_token" else several[0]
        if len(several) > 1 and name != "min_token":
            raise Problem(400, "query.invalid", f"the parameter {name!r} is given more than once")
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        raise invalid("query.invalid", 400, "query", exc) from None


async def read_body(request: web.Request) -> bytes:
    """The whole body, bounded in size by the application and in time by this."""
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise Problem(408, "body.timeout", f"the body did not arrive within {_BODY_TIMEOUT_S:g} s") from None


async def _parse_body(model: type[BaseModel], request: web.Request) -> BaseModel:
    if request.content_type != JSON:
        raise Problem(415, "body.media_type", f"this path takes {JSON}")
    try:
        return model.model_validate_json(await read_body(request))
    except ValidationError as exc:
        syntax = any(found["type"] == "json_invalid" for found in exc.errors(include_url=False))
        raise invalid("body.invalid", 400 if syntax else 422, "body", exc) from None
