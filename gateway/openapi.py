"""One OpenAPI 3.1 document from the route registry. Nothing is described by hand that a declaration already says."""

from __future__ import annotations

from collections import defaultdict
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from openapi_pydantic import OpenAPI
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from gateway.problems import MEDIA_TYPE
from gateway.registry import JSON, Operation, Query, Registry

_REF = "#/components/schemas/{model}"


class ProblemView(BaseModel, title="Problem"):
    """RFC 9457. `code` is stable; further members belong to the code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    violations: list[dict[str, Any]] | None = Field(None, description="What is wrong where, for input that is not valid.")


class CloudEventView(BaseModel, title="CloudEvent"):
    """CloudEvents 1.0, JSON format; extensions are further members. In binary mode the body is `data` and the rest are `ce-*` headers."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    data: Any = None
    data_base64: str | None = None


def build_openapi(registries: list[Registry]) -> str:
    """The document as JSON text."""
    operations = [operation for registry in registries for operation in registry.operations]
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.path][operation.method.lower()] = _operation(operation)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "SyncMaster",
            "version": version("syncmaster"),
            "description": "What is the state of this artifact, which component is out of step, since when, and why.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": registry.tag} for registry in registries],
        "paths": dict(paths),
        "components": {"schemas": _schemas(operations), "securitySchemes": _SECURITY},
    }
    return OpenAPI.model_validate(document).model_dump_json(by_alias=True, exclude_unset=True)


_SECURITY = {
    "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key of a principal."},
    "session": {"type": "apiKey", "in": "cookie", "name": "sm_session", "description": "Of the status page's login."},
}


def _schemas(operations: list[Operation]) -> dict[str, Any]:
    answers = {operation.answer for operation in operations if operation.answer} | {ProblemView}
    bodies = {operation.body for operation in operations if operation.body} | {CloudEventView}
    wanted: list[Any] = [(model, "serialization") for model in sorted(answers, key=lambda model: model.__name__)]
    wanted += [(model, "validation") for model in sorted(bodies, key=lambda model: model.__name__)]
    return dict(models_json_schema(wanted, ref_template=_REF)[1]["$defs"])


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"{operation.description or operation.summary}\n\n{operation.needs}",
        "parameters": [*map(_segment, operation.segments), *(_parameters(operation.query) if operation.query else [])],
        "responses": _responses(operation),
        "security": [{"apiKey": list[str]()}, {"session": list[str]()}] if operation.guarded else [],
    }
    if operation.accepts:
        described["requestBody"] = {
            "required": True,
            "content": {media: {"schema": _body_schema(operation, media)} for media in operation.accepts},
        }
    return described


def _body_schema(operation: Operation, media: str) -> dict[str, Any]:
    if operation.body is not None:
        return {"$ref": _REF.format(model=operation.body.__name__)}
    event = {"$ref": _REF.format(model=CloudEventView.__name__)}
    if media.startswith("application/cloudevents-batch"):
        return {"type": "array", "items": event, "minItems": 1}
    return event if media.startswith("application/cloudevents") else {}


def _segment(name: str) -> dict[str, Any]:
    what = "Percent-encoded as one segment, slashes too."
    return {"name": name, "in": "path", "required": True, "description": what, "schema": {"type": "string"}}


def _parameters(query: type[Query]) -> list[dict[str, Any]]:
    properties: dict[str, Any] = query.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description", ""),
            "schema": schema,
        }
        for name, schema in properties.items()
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        success["content"] = {JSON: {"schema": {"$ref": _REF.format(model=operation.answer.__name__)}}}
    elif operation.status != HTTPStatus.SEE_OTHER:
        success["content"] = {operation.produces: {"schema": {"type": "object" if operation.produces == JSON else "string"}}}
    problem = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model=ProblemView.__name__)}}}
    refusals = {str(status): {"description": HTTPStatus(status).phrase, "content": problem} for status in operation.statuses}
    return {str(operation.status): success} | refusals
