"""Whether the example components hold what the tables say: versions and digests, pair by pair. Asks over HTTP, like anybody could."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import aiohttp

from gateway.local.stack import Stack


async def differences(stack: Stack, session: aiohttp.ClientSession) -> list[str]:
    """One line for each pair that differs; empty when all agree."""
    headers = {"Authorization": f"Bearer {stack.key()}"}
    tables = await _tables(stack, session, headers)
    found: list[str] = []
    for name in stack.components:
        held = await _get(session, f"{stack.side_door_url(name)}/v1/held", {})
        found += _compare(name, tables, held)
    return found


async def _tables(stack: Stack, session: aiohttp.ClientSession, headers: dict[str, str]) -> dict[str, Any]:
    """Artifact key -> head, with all its versions."""
    tables: dict[str, Any] = {}
    query = "limit=1000"
    while True:
        page = await _get(session, f"{stack.gateway_url}/v1/artifacts?{query}", headers)
        for artifact in page["items"]:
            tables[artifact["key"]] = artifact | {"versions": await _versions(stack, session, headers, artifact["key"])}
        if not page.get("next_cursor"):
            return tables
        query = f"limit=1000&cursor={quote(page['next_cursor'], safe='')}"


async def _versions(stack: Stack, session: aiohttp.ClientSession, headers: dict[str, str], key: str) -> dict[str, str | None]:
    """Version -> digest, in the order of their generations."""
    base, query, found = f"{stack.gateway_url}/v1/artifacts/{quote(key, safe='')}/versions", "limit=1000", []
    while True:
        page = await _get(session, f"{base}?{query}", headers)
        found += page["items"]
        if not page.get("next_cursor"):
            return {item["version"]: item["digest"] for item in sorted(found, key=lambda item: item["generation"])}
        query = f"limit=1000&cursor={quote(page['next_cursor'], safe='')}"


def _compare(component: str, tables: dict[str, Any], held: dict[str, Any]) -> list[str]:
    wanted = {key: artifact for key, artifact in tables.items() if component in artifact["sync"]}
    found = [f"{component} holds {key}, which is not for it" for key in held["held"] if key not in wanted]
    for key, artifact in wanted.items():
        version = artifact["sync"][component]["version"]
        digest = artifact["versions"].get(version)
        holds = held["held"].get(key, {})
        if (holds.get("version"), holds.get("digest") or None) != (version, digest):
            found.append(
                f"{component}: {key} should be {version} {digest}, it holds {holds.get('version')} {holds.get('digest')}"
            )
    return found


async def _get(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> dict[str, Any]:
    async with session.get(url, headers=headers) as response:
        response.raise_for_status()
        answer: dict[str, Any] = await response.json()
        return answer
