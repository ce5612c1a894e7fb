"""The audit record of a partition that is judged under another configuration than before. Pure; the pipeline asks first in a turn."""

from __future__ import annotations

from agents.audit import AuditTrail
from tables.audit_record import Outcome
from tables.model import Marker


def has_changed(marker: Marker, config_hash: str) -> bool:
    """Whether there is a turn to take for it. A partition that never had a configuration has not changed it."""
    return marker.config not in ("", config_hash)


def note_configuration(partition: int, marker: Marker, audit: AuditTrail) -> None:
    """One record per partition and change, before any record that the new configuration judged; `marker` remembers it.

    In one transaction with the marker, so a crash neither doubles nor loses it.
    """
    if has_changed(marker, audit.config):
        audit.add(
            f"config-{partition}-{marker.turn}",
            Outcome.CONFIGURATION,
            artifact="",
            code="configuration.changed",
            detail=f"the configuration was {marker.config}",
        )
    marker.config = audit.config
