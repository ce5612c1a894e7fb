"""Names of the log's topics, in one place. Making and checking them: `topic_admin.py`."""

from __future__ import annotations

import msgspec

#: The three tables, in the order in which a transaction writes them.
TABLES = ("artifacts", "versions", "quarantine")


class Topics(msgspec.Struct, frozen=True):
    """All names derive from the prefix, which is Faust's app id too: its changelogs are `<id>-<table>-changelog`."""

    prefix: str

    @property
    def events(self) -> str:
        return f"{self.prefix}.events"

    @property
    def commands(self) -> str:
        return f"{self.prefix}.commands"

    @property
    def audit(self) -> str:
        return f"{self.prefix}.audit"

    @property
    def audit_checkpoints(self) -> str:
        """Partition by partition beside `audit`. Kept as long as it, not compacted: each checkpoint pins another place of the chain."""
        return f"{self.prefix}.audit-checkpoints"

    @property
    def control(self) -> str:
        return f"{self.prefix}.control"

    @property
    def alerts(self) -> str:
        """One partition."""
        return f"{self.prefix}.alerts"

    def sync(self, component: str) -> str:
        return f"{self.prefix}.sync.{component}"

    def changelog(self, table: str) -> str:
        return f"{self.prefix}-{table}-changelog"

    @property
    def changelogs(self) -> tuple[str, ...]:
        return tuple(self.changelog(table) for table in TABLES)
