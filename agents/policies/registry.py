"""Which function makes which kind of policy. A new kind is one line here; docs/policies.md tells how to add one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.policies.allow_deny import allow_deny
from agents.policies.base import Check
from agents.policies.digest_immutable import digest_immutable
from agents.policies.digest_required import digest_required
from agents.policies.freeze_window import freeze_window
from agents.policies.json_schema import json_schema
from agents.policies.rate_limit import rate_limit
from agents.policies.size_limit import size_limit
from agents.policies.version_forward import version_forward
from streams import settings_policies as kinds

#: From the settings of a policy to the function that judges by them.
KINDS: dict[type[kinds.AnyPolicy], Callable[[Any], Check]] = {
    kinds.AllowDeny: allow_deny,
    kinds.DigestImmutable: digest_immutable,
    kinds.DigestRequired: digest_required,
    kinds.FreezeWindow: freeze_window,
    kinds.JsonSchema: json_schema,
    kinds.RateLimit: rate_limit,
    kinds.SizeLimit: size_limit,
    kinds.VersionForward: version_forward,
}
