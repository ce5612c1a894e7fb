"""A stand-in for Alertmanager that judges what it is sent by Alertmanager's own description of its API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jsonschema_rs
from aiohttp import web
from aiohttp.test_utils import TestServer

#: `definitions` of api/v2/openapi.yaml in prometheus/alertmanager (Apache-2.0), as far as `POST /alerts` uses them.
_DEFINITIONS: dict[str, Any] = {
    "postableAlerts": {"type": "array", "items": {"$ref": "#/definitions/postableAlert"}},
    "postableAlert": {
        "allOf": [
            {
                "type": "object",
                "properties": {
                    "startsAt": {"type": "string", "format": "date-time"},
                    "endsAt": {"type": "string", "format": "date-time"},
                    "annotations": {"$ref": "#/definitions/labelSet"},
                },
            },
            {"$ref": "#/definitions/alert"},
        ]
    },
    "alert": {
        "type": "object",
        "properties": {"labels": {"$ref": "#/definitions/labelSet"}, "generatorURL": {"type": "string", "format": "uri"}},
        "required": ["labels"],
    },
    "labelSet": {"type": "object", "additionalProperties": {"type": "string"}},
}
_KNOWN = {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Alertmanager:
    """`alerts` are those that it took; with `answers` the next requests get these statuses instead."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.requests: list[tuple[int, str]] = []
        self.answers: list[int] = []
        self.url = ""
        schema = {"$ref": "#/definitions/postableAlerts", "definitions": _DEFINITIONS}
        self._validator = jsonschema_rs.Draft4Validator(schema, validate_formats=True)

    async def post_alerts(self, request: web.Request) -> web.Response:
        status, told = self._judge(await request.json())
        if self.answers:
            status, told = self.answers.pop(0), "told to"
        self.requests.append((status, request.headers.get("Authorization", "")))
        if status == 200:
            self.alerts += await request.json()
        return web.json_response(told, status=status)

    def _judge(self, body: Any) -> tuple[int, str]:
        """The description first, then what Alertmanager demands beyond it: names of labels, no empty label set, an end after the start."""
        if wrong := [error.message for error in self._validator.iter_errors(body)]:
            return 422, wrong[0]
        for alert in body:
            if unknown := alert.keys() - _KNOWN:
                return 422, f"unknown {unknown}"
            if not alert["labels"] or not all(map(_LABEL_NAME.fullmatch, (*alert["labels"], *alert["annotations"]))):
                return 400, "invalid label set"
            if not all(alert["labels"].values()) or alert["endsAt"] < alert["startsAt"]:
                return 400, "start time must be before end time"
            if any(value == "chart/refused" for value in alert["labels"].values()):
                return 400, "refused by the test"
        return 200, ""


@asynccontextmanager
async def alertmanager() -> AsyncIterator[Alertmanager]:
    found, app = Alertmanager(), web.Application()
    app.router.add_post("/api/v2/alerts", found.post_alerts)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/")).rstrip("/")
        yield found
