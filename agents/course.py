"""What the configuration says about every event of one type, about one artifact, by one principal: looked up once, remembered together."""

from __future__ import annotations

import msgspec

from agents.authz import Decision
from agents.policies import Compiled
from agents.routing import Target


class Course(msgspec.Struct, frozen=True, gc=False):
    """May it be published, by which rule; the policies that look at it; where it goes; its name in metrics."""

    decision: Decision
    policies: tuple[Compiled, ...]
    targets: tuple[Target, ...]
    type_label: str
