"""The audit record of a partition that is judged under another configuration than before. Pure; the pipeline calls it first in a turn."""

from __future__ import annotations

from agents.audit import AuditTrail
from tables.audit_record import Outcome
from tables.model import Marker


def note_configuration(partition: int, marker: Marker, audit: AuditTrail) -> None:
    """One record per partition and change, before any record that the new configuration judged; `marker` remembers it.

    In one transaction with the marker, so a crash neither doubles nor loses it. The first configuration is a change from none.
    """
    if marker.config == audit.config:
        return
    audit.add(
        f"config-{partition}-{marker.turn}",
        Outcome.CONFIGURATION,
        artifact="",
        code="configuration.changed" if marker.config else "configuration.first",
        detail=f"the configuration was {marker.config}" if marker.config else "",
    )
    marker.config = audit.config
