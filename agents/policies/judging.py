"""From a configuration's policies to a verdict on one event: selects those that apply, asks each, and keeps the gravest answer."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

import structlog

from agents.authz import Selectors, environment_of
from agents.policies.base import Case, Check, Verdict
from agents.policies.registry import KINDS
from streams import metrics
from streams.logs import Quiet
from streams.settings import Settings
from streams.settings_policies import Action, EventPolicy

log = structlog.get_logger(__name__)

_SELECTIONS_MAX = 65_536
_GRAVITY: dict[Action, int] = {"alert": 0, "refuse": 1, "quarantine": 2, "halt": 3}
_QUIET = Quiet()


class Judgement(NamedTuple):
    """`verdict` decides over the event; `alerts` are told besides, whatever becomes of it."""

    verdict: Verdict | None = None
    alerts: tuple[Verdict, ...] = ()


FINE = Judgement()
#: The code of a verdict that is none: the policy could not be evaluated.
POLICY_FAILED = "policy.failed"


class Compiled(NamedTuple):
    name: str
    action: Action
    check: Check


class Policies:
    """Those of one configuration. Selectors are resolved once per (type, artifact, principal) and remembered, within a bound."""

    def __init__(self, settings: Settings) -> None:
        found = settings.policies
        events = [policy if isinstance(policy, EventPolicy) else None for policy in found]
        self._policies = [Compiled(policy.name, policy.action, KINDS[type(policy)](policy)) for policy in found]
        self._all = (1 << len(found)) - 1
        self._principals = Selectors(policy.principals for policy in found)
        self._types = Selectors(policy.types if policy else () for policy in events)
        self._artifacts = Selectors(policy.artifacts if policy else () for policy in events)
        self._environments = Selectors(policy.environments if policy else () for policy in events)
        self._applying = lru_cache(maxsize=_SELECTIONS_MAX)(self.select)

    def judge(self, case: Case, waived: Collection[str] = ()) -> Judgement:
        """Never raises: a policy that cannot be evaluated refuses, and says so."""
        event = case.event
        return judge(self._applying(event.type, event.artifact.key, case.ingress.principal), case, waived)

    def select(self, event_type: str, artifact: str, principal: str) -> tuple[Compiled, ...]:
        """The policies that apply, in the order of the configuration. For callers that remember it; `judge` does."""
        left = self._all
        if left:
            left = self._types.select(event_type, left)
            left = self._principals.select(principal, left)
            left = self._artifacts.select(artifact, left)
            left = self._environments.select(environment_of(artifact), left)
        return tuple(policy for number, policy in enumerate(self._policies) if left >> number & 1)


def judge(policies: tuple[Compiled, ...], case: Case, waived: Collection[str] = ()) -> Judgement:
    """The gravest verdict (halt, quarantine, refuse), of two alike the first. All policies are asked, so that no alert is missed, but those
    whose names are `waived`: somebody has released the event from their judgement."""
    verdict: Verdict | None = None
    alerts: tuple[Verdict, ...] = ()
    for name, action, check in policies:
        if name in waived:
            continue
        try:
            finding = check(case)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:  # a panic in a library written in Rust is no Exception; no event may stop its partition
            found = _failed(name, exc)
        else:
            if finding is None:
                continue
            found = Verdict(action, name, finding.code, finding.detail)
        if found.action == "alert":
            alerts += (found,)
        elif verdict is None or _GRAVITY[found.action] > _GRAVITY[verdict.action]:
            verdict = found
    return Judgement(verdict, alerts) if verdict or alerts else FINE


def _failed(name: str, exc: BaseException) -> Verdict:
    """Closed, whatever its action: an alert that cannot be judged may not let an event pass that nobody looked at."""
    metrics.POLICY_FAILURES.labels(name).inc()
    _QUIET.warning(log, name, "a policy failed and refused: please report it", policy=name, error=repr(exc)[:200])
    detail = f"the policy {name} could not be evaluated ({type(exc).__name__}); see the worker's log, mend or remove it"
    return Verdict("refuse", name, POLICY_FAILED, detail)
