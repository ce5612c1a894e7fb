"""The policies of `syncmaster.yaml`: one model per kind, told apart by `kind`. How each judges an event: `agents/policies/<kind>.py`.

Models stand here and not beside the functions that they are for, because a configuration is read by processes that judge nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from cronsim import CronSim, CronSimError
from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from streams.data_schema import compile_schema
from streams.settings_base import Model, Name, Pattern, wrong

#: What becomes of an event that breaks a policy, from the mildest to the gravest.
Action = Literal["alert", "refuse", "quarantine", "halt"]
_SCHEMA_BYTES_MAX = 1 << 20


class Halts(Model):
    """Which deliveries stop when a policy halts, where it is not those of the artifact alone: of these artifacts, to this component, or all."""

    artifacts: tuple[Pattern, ...] = ()
    component: Name | None = None
    everything: bool = False

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.everything == bool(self.artifacts or self.component):
            raise wrong((), "must say what stops", "give `artifacts` or `component` or both, or `everything: true` alone")
        return self


class AnyPolicy(Model):
    """What every kind has. An empty selector means any; an event is judged when all of them match."""

    name: Name
    action: Action = "refuse"
    #: With the action `halt`; by default the deliveries of the artifact that the event is about.
    halts: Halts | None = None
    principals: tuple[Pattern, ...] = ()

    @model_validator(mode="after")
    def _halts_only_with_halt(self) -> Self:
        if self.halts is not None and self.action != "halt":
            raise wrong(("halts",), f"means nothing with the action `{self.action}`", "remove it, or make the action `halt`")
        return self


class EventPolicy(AnyPolicy):
    """A policy that is about what an event says."""

    types: tuple[Pattern, ...] = ()
    artifacts: tuple[Pattern, ...] = ()
    #: Of the artifact: `prod` of `environment/prod`. Only `*` matches artifacts of other kinds, which have none.
    environments: tuple[Pattern, ...] = ()


class JsonSchema(EventPolicy):
    """The event's `data` must be valid under a JSON Schema, written here or in a file that is read with the configuration."""

    kind: Literal["json_schema"]
    data_schema: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, given: Any, info: ValidationInfo) -> Any:
        """`data_schema_file` becomes `data_schema`, so that the configuration's hash stands for what the file says."""
        if not isinstance(given, dict) or "data_schema_file" not in given:
            return given
        if "data_schema" in given:
            raise wrong(("data_schema_file",), "stands beside `data_schema`", "remove one of the two")
        rest = {key: value for key, value in given.items() if key != "data_schema_file"}
        return rest | {"data_schema": _schema_of(given["data_schema_file"], info)}

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            compile_schema(self.data_schema)
        except ValueError as exc:
            raise wrong(("data_schema",), str(exc), "mend the schema; see docs/policies.md for what it may use") from None
        return self


class DigestRequired(EventPolicy):
    """The event must tell a digest. A deletion need not: it brings nothing in."""

    kind: Literal["digest_required"]


class DigestImmutable(EventPolicy):
    """A version that was accepted with a digest keeps it."""

    kind: Literal["digest_immutable"]


class VersionForward(EventPolicy):
    """The version must be SemVer, and not below the greatest that was accepted and is not deleted."""

    kind: Literal["version_forward"]


class FreezeWindow(EventPolicy):
    """Nothing is taken for `duration_minutes` from each moment that `cron` names, by the clock of `time_zone`."""

    kind: Literal["freeze_window"]
    #: Five fields: minute, hour, day of month, month, day of week.
    cron: str = Field(max_length=256)
    duration_minutes: int = Field(ge=1, le=366 * 24 * 60)
    time_zone: str = "UTC"

    @model_validator(mode="after")
    def _fires(self) -> Self:
        try:
            ZoneInfo(self.time_zone)
        except (ValueError, OSError, LookupError):
            mend = "write a name of the IANA database, such as Europe/Berlin"
            raise wrong(("time_zone",), f"there is no time zone {self.time_zone!r}", mend) from None
        if problem := _cron_problem(self.cron):
            raise wrong(("cron",), *problem)
        return self


class Patterns(Model):
    """What is denied is denied whatever is allowed; an empty `allow` allows everything else."""

    allow: tuple[Pattern, ...] = ()
    deny: tuple[Pattern, ...] = ()


class AllowDeny(EventPolicy):
    """Where an artifact is kept, and who tells of it."""

    kind: Literal["allow_deny"]
    #: `ghcr.io` of `image/ghcr.io/argoproj/argocd`; none (only `*` matches) where the name begins with no host.
    registries: Patterns = Patterns()
    #: `argoproj` of the same: what stands between registry and last segment.
    namespaces: Patterns = Patterns()
    #: The CloudEvents attribute `source`.
    sources: Patterns = Patterns()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(part.allow or part.deny for part in (self.registries, self.namespaces, self.sources)):
            raise wrong((), "allows and denies nothing", "give `registries`, `namespaces` or `sources` an `allow` or a `deny`")
        return self


class SizeLimit(EventPolicy):
    """The event as it was sent, in bytes; below `limits.event_bytes_max`, which holds for all."""

    kind: Literal["size_limit"]
    bytes_max: int = Field(ge=1)


class RateLimit(AnyPolicy):
    """Events per second of each principal, on the average, and at once. Counted at the door, before anybody knows what they are about."""

    kind: Literal["rate_limit"]
    events_per_s: float = Field(gt=0, le=1_000_000)
    burst_events: int = Field(ge=1, le=1_000_000)


Policy = Annotated[
    JsonSchema | DigestRequired | DigestImmutable | VersionForward | FreezeWindow | AllowDeny | SizeLimit | RateLimit,
    Field(discriminator="kind"),
]


def duplicated(policies: tuple[Policy, ...]) -> PydanticCustomError | None:
    """Decisions and audit name a policy, so a name must mean one."""
    names = [policy.name for policy in policies]
    for index, name in enumerate(names):
        if name in names[:index]:
            return wrong(("policies", index, "name"), f"another policy is called {name!r}", "give each its own name")
    return None


def strangers(policies: tuple[Policy, ...], components: Collection[str]) -> PydanticCustomError | None:
    """Policies that would stop a component that there is not."""
    for index, policy in enumerate(policies):
        component = policy.halts.component if policy.halts else None
        if component is not None and component not in components:
            known = ", ".join(sorted(components)) or "none"
            path = ("policies", index, "halts", "component")
            return wrong(path, f"there is no component {component!r}", f"declare it, or name one of these: {known}")
    return None


def _schema_of(file: Any, info: ValidationInfo) -> Any:
    """A relative file is below the directory that the loader names, as secrets are. YAML reads JSON too."""
    path = Path((info.context or {}).get("secrets_base") or "") / str(file)
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise wrong(("data_schema_file",), f"cannot read {path} ({exc.strerror})", "create it, readable by this user") from exc
    if len(text) > _SCHEMA_BYTES_MAX:
        raise wrong(("data_schema_file",), f"{path} has {len(text)} bytes", f"keep it below {_SCHEMA_BYTES_MAX}")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise wrong(("data_schema_file",), f"{path} is neither JSON nor YAML", "mend the file") from None


def _cron_problem(expression: str) -> tuple[str, str] | None:
    """What is wrong with it, and the mend."""
    if len(expression.split()) != 5:
        return "must have five fields", "write minute, hour, day of month, month and day of week"
    try:
        next(CronSim(expression, datetime.now(UTC)))
    except CronSimError as exc:
        return f"cannot be read ({exc})", "write it as in crontab(5), such as `0 18 * * FRI`"
    except StopIteration:
        return "names no moment within 50 years", "name a day that there is"
    return None
