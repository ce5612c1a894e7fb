"""One attempt to bring one artifact to one component: plan, render, send, and what came of it. Which one and when: `actor.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import msgspec
import structlog

from agents.delivery import Plan, plan, render
from agents.sinks.backlog import Due
from agents.sinks.base import Held, PartitionView, Receipt, Result, Sink, before_first_byte
from streams.errors import Away, Rejected, Retriable, SyncMasterError
from streams.metrics import ATTEMPTS, DELIVERY_SECONDS

log = structlog.get_logger(__name__)


class Attempt(msgspec.Struct, frozen=True):
    """An attempt that is over. `error` is None exactly when the component has the update."""

    component: str
    due: Due
    planned: Plan | None
    error: Exception | None

    @property
    def result(self) -> Result:
        if self.error is None:
            return Result.DELIVERED
        return Result.FAILED if isinstance(self.error, Rejected) else Result.RETRY

    @property
    def was_answered(self) -> bool:
        """Whether the component itself said anything, be it yes, no or later."""
        if self.planned is None or isinstance(self.error, Away):
            return False
        return self.error is None or isinstance(self.error, Retriable | Rejected)

    @property
    def error_text(self) -> str:
        """For operators: a sink's own words, or the name of what went wrong in the program, never its values."""
        if self.error is None:
            return ""
        if isinstance(self.error, SyncMasterError):
            return str(self.error)
        return f"internal error: {type(self.error).__name__}; see the worker's log"

    def receipt(self, at_ms: int) -> Receipt:
        return Receipt(
            artifact=self.due.artifact,
            component=self.component,
            generation=self.planned.generation if self.planned else self.due.sync.desired,
            version=self.planned.name if self.planned else self.due.sync.version,
            result=self.result,
            at_ms=at_ms,
            covers=self.planned.covers if self.planned else 1,
            after=self.due.after,
            error=self.error_text,
            retry_after_s=self.error.retry_after_s if isinstance(self.error, Retriable) else None,
        )


async def attempt(
    component: str, sink: Sink, view: PartitionView, due: Due, require_start: Callable[[str], None], *, timeout_s: float
) -> Attempt | None:
    """Never raises but when it is cancelled: a bug in the sink, or here, costs this delivery a retry and nobody else anything.

    `require_start` raises Held for an artifact whose delivery may not begin any more. Then the result is None: nothing was sent.
    """
    started_s = time.perf_counter()
    planned: Plan | None = None
    error: Exception | None = None
    try:
        planned = plan(view, due.artifact, due.sync, due.mode, due.after)
        delivery = render(component, due.artifact, planned.generation, planned.name, planned.version)
        before_first_byte.set(partial(require_start, due.artifact))
        async with asyncio.timeout(timeout_s):
            require_start(due.artifact)
            await sink.deliver(delivery)
    except Held:
        return None
    except TimeoutError:
        error = Away(f"no answer within {timeout_s:g} s")
    except (Retriable, Rejected) as exc:
        error = exc
    except Exception as exc:
        log.exception("a delivery failed in a way that is not provided for", component=component, artifact=due.artifact)
        error = exc
    done = Attempt(component, due, planned, error)
    ATTEMPTS.labels(component, done.result.value).inc()
    DELIVERY_SECONDS.labels(component, done.result.value).observe(time.perf_counter() - started_s)
    return done
