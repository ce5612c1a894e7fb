"""C28 Kustomize: patches the newest charts of its environments; SyncMaster asks, and the reply is the receipt.

Told to be `down` it does not answer at all.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from gateway.local.components.base import Component, main
from gateway.local.components.held import Update
from gateway.local.components.nats_client import nats_client
from streams.ce_headers import attributes_of
from streams.errors import Malformed

NAME = "c28-kustomize"


@asynccontextmanager
async def responder(component: Component) -> AsyncIterator[None]:
    async def take(message: Msg) -> None:
        fault = await component.fault()
        if fault != "down":
            await message.respond(json.dumps(_answer(component, message, fault)).encode())

    async with nats_client(component) as client:
        await client.subscribe(f"sync.{NAME}.*", cb=take)
        yield


def _answer(component: Component, message: Msg, fault: str) -> dict[str, str]:
    if fault == "reject":
        return {"status": "rejected", "detail": f"{NAME} rejects everything, as it was told to"}
    try:
        component.held.take([Update.of(attributes_of(message.headers or {}))])
    except (KeyError, ValueError, Malformed) as exc:
        return {"status": "rejected", "detail": f"not an update of SyncMaster: {exc!r}"}
    return {"status": "ok"}


if __name__ == "__main__":
    main(NAME, responder)
