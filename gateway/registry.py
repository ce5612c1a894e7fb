"""The route registry: one declaration per operation, from which come validation, authorisation, the routes (`serving.py`) and OpenAPI.

    routes = Registry("artifacts")

    @routes.get("/v1/artifacts/{key}", verbs=("read",), artifact="key", refusals=(404,))
    async def get_artifact(call: Call, key: str, query: Read) -> Reply[Artifact]: ...

A handler's signature says the rest: `query` and `body` are pydantic models, other parameters are path segments, percent-decoded, and
the annotation of the result is the model of the answer. The first line of its docstring is the summary. No business in here.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from agents.authz import May
from gateway.auth import Keyring
from gateway.caller import Caller
from gateway.context import Context
from gateway.problems import Problem
from gateway.refusals import Refused
from gateway.remotes import remote_of
from streams.settings import Verb

Model = TypeVar("Model", bound=BaseModel)
Handler = Callable[..., Awaitable[Any]]

CONTEXT = web.AppKey("context", Context)
KEYRING = web.AppKey("keyring", Keyring)
JSON = "application/json"
_ANNOTATED_HERE = ("call", "query", "body", "return")


class Query(BaseModel):
    """Base of all query strings: an unknown parameter is refused, or a typing mistake would list everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Read(Query):
    """Of every read of the replica."""

    min_token: tuple[str, ...] = Field(
        (), max_length=1024, description="Token of a write; the read waits, bounded, until it has been applied. Repeatable."
    )


@dataclass(frozen=True)
class Call:
    """One request. `caller` is None only for operations that need no key."""

    context: Context
    caller: Caller | None
    request: web.Request

    def may(self, verb: Verb) -> May:
        """For operations that look at one thing after the other."""
        return partial(self.known.may, verb)

    @property
    def known(self) -> Caller:
        assert self.caller is not None, "only operations that need a key have a caller"
        return self.caller

    @property
    def principal(self) -> str:
        return self.known.name

    @property
    def remote(self) -> str:
        """From where, for the audit."""
        return remote_of(self.request, self.context.settings.gateway.trusted_proxies)

    def refused(self, problem: Problem) -> None:
        """Count and audit that nobody is known here, or that somebody may not."""
        resource = self.request.match_info.route.resource
        route = resource.canonical if resource is not None else ""
        if problem.code == "auth.missing" and route == "/":
            return  # a browser that is shown the login form has not tried yet
        principal = self.caller.name if self.caller else getattr(problem, "principal", "")
        key_id = self.caller.key_id if self.caller else getattr(problem, "key_id", "")
        self.context.refusals.refused(Refused(problem.code, self.remote, principal, key_id, route))


@dataclass(frozen=True)
class Reply(Generic[Model]):
    """An answer with more than a body. `status` only where it differs from the declared one."""

    body: Model | None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None


@dataclass(frozen=True)
class Operation:
    """Any of `verbs` will do; without one no key is needed, or, with `anyone`, any key. `refusals` are the statuses beyond what the rest implies.

    What the verb is needed for: the artifact or component that a path segment names; else everything. Where `judged` is set, the handler
    asks about one thing after the other, and here it is enough that there is one.
    """

    name: str
    tag: str
    method: str
    path: str
    verbs: tuple[Verb, ...]
    artifact: str
    component: str
    judged: bool
    anyone: bool
    status: int
    refusals: tuple[int, ...]
    accepts: tuple[str, ...]
    produces: str
    handler: Handler
    summary: str
    description: str
    query: type[Query] | None
    body: type[BaseModel] | None
    answer: type[BaseModel] | None

    @property
    def guarded(self) -> bool:
        """Whether a key is needed."""
        return bool(self.verbs) or self.anyone

    @property
    def needs(self) -> str:
        """Which key is needed, in words."""
        if not self.verbs:
            return "Any key will do." if self.anyone else "Needs no key."
        on = "this artifact" if self.artifact else "this component" if self.component else "everything"
        return f"Needs {' or '.join(f'`{verb}`' for verb in self.verbs)} on {'what it is about' if self.judged else on}."

    @property
    def segments(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def statuses(self) -> list[int]:
        """Every status of a refusal that a caller may meet."""
        implied = [400] if self.query else []
        implied += [400, 413, 415, 422] if self.accepts else []
        implied += [401, 403] if self.guarded else []
        implied += [504] if self.query and issubclass(self.query, Read) else []
        return sorted({*implied, *self.refusals})


class Registry:
    """Operations about one noun."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.operations: list[Operation] = []

    def get(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self._declare("GET", path, **declared)

    def post(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self._declare("POST", path, **declared)

    def _declare(
        self,
        method: str,
        path: str,
        *,
        verbs: tuple[Verb, ...],
        artifact: str = "",
        component: str = "",
        judged: bool = False,
        anyone: bool = False,
        status: int = 200,
        refusals: tuple[int, ...] = (),
        accepts: tuple[str, ...] = (),
        produces: str = JSON,
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            hints = typing.get_type_hints(handler)
            answer = typing.get_args(hints["return"])[0] if typing.get_args(hints["return"]) else hints["return"]
            summary, _, description = (inspect.getdoc(handler) or "").partition("\n")
            operation = Operation(
                name=handler.__name__,
                tag=self.tag,
                method=method,
                path=path,
                verbs=verbs,
                artifact=artifact,
                component=component,
                judged=judged,
                anyone=anyone,
                status=status,
                refusals=refusals,
                accepts=accepts or ((JSON,) if "body" in hints else ()),
                produces=produces,
                handler=handler,
                summary=summary,
                description=description.strip(),
                query=hints.get("query"),
                body=hints.get("body"),
                answer=answer if inspect.isclass(answer) and issubclass(answer, BaseModel) else None,
            )
            assert set(operation.segments) == hints.keys() - set(_ANNOTATED_HERE), f"{path}: segments and parameters differ"
            self.operations.append(operation)
            return handler

        return register
