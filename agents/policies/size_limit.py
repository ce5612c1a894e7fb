"""Policy `size_limit`: an event may have so many bytes as it was sent."""

from __future__ import annotations

from agents.policies.base import Case, Check, Finding
from streams.settings_policies import SizeLimit


def size_limit(policy: SizeLimit) -> Check:
    bytes_max = policy.bytes_max

    def check(case: Case) -> Finding | None:
        size = len(case.incoming.body)
        return Finding("size.exceeded", f"found {size} bytes; expected at most {bytes_max}") if size > bytes_max else None

    return check
