"""Tasks that live and end together, and libraries that do not bear being cancelled. Nothing here knows what the tasks do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_CANCEL_AGAIN_S = 2.5


async def run_together(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, which ends the others; raises what it raised. Nothing is left running.

    A task is cancelled until it has ended: `asyncio.wait_for`, which nats-py waits with, loses a cancellation that meets its result.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pending = {task for task in tasks if not task.done()}
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end even when cancelled meanwhile, and be cancelled then. For aiokafka, which leaks a connection that is being made.

    A second cancellation does not wait any more.
    """
    task = asyncio.create_task(coroutine)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await task
        raise
