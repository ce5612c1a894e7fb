"""SyncMaster itself, as it is benchmarked: its own commands, its default configuration but for addresses, everything on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks.log import Log
from benchmarks.workload import PRINCIPAL
from gateway.local.process import Child
from streams.settings import Settings
from streams.topic_admin import topic_specs
from streams.topics import Topics
from tables.model import MARKER_KEY, Marker

#: Two components that read the log: each event gives two outgoing records, within the transaction.
LOG_COMPONENTS = ("portal", "store")


def configuration(bootstrap: str, prefix: str, partitions: int, data_dir: Path, **changes: Any) -> dict[str, Any]:
    """The content of a `syncmaster.yaml`. `changes` are merged into its sections."""
    content: dict[str, Any] = {
        "cluster": "bench",
        "kafka": {"bootstrap": bootstrap, "topic_prefix": prefix, "partitions": partitions},
        "worker": {"data_dir": str(data_dir), "standby_replicas": 0},
        "principals": {PRINCIPAL: {}},
        "roles": {
            "charts": {"rules": [{"verbs": ["publish"], "types": ["dev.cdevents.artifact.*"], "artifacts": ["chart/*"]}]},
        },
        "bindings": [{"name": "charts", "role": "charts", "principals": [PRINCIPAL]}],
        "components": {name: {"sink": {"type": "log"}} for name in LOG_COMPONENTS},
        "routes": [{"name": "charts", "match": {"artifacts": ["chart/*"]}, "to": list(LOG_COMPONENTS)}],
    }
    for section, values in changes.items():
        content[section] = (
            {**content[section], **values} if isinstance(content.get(section), dict) and section not in _WHOLE else values
        )
    return content


_WHOLE = {"components"}


def settings_of(content: dict[str, Any]) -> Settings:
    return Settings.model_validate(content)


def command(name: str, content: dict[str, Any], directory: Path) -> Child:
    """`syncmaster <name>` on that configuration, not started yet."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "syncmaster.yaml"
    file.write_text(yaml.safe_dump(content))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SYNCMASTER_")}
    return Child(
        f"syncmaster-{name}", [sys.executable, "-m", "gateway.cli.main", name, "-c", file], directory / "logs", environment
    )


def output_topics(settings: Settings) -> list[str]:
    """What a worker writes: all of its topics but [events]."""
    events = Topics(settings.kafka.topic_prefix).events
    return [spec.name for spec in topic_specs(settings) if spec.name != events]


async def markers(log: Log, topics: Topics, partitions: int) -> dict[int, Marker]:
    """The last committed marker of each partition, read from the end of the changelog."""
    changelog, found = topics.changelog("artifacts"), dict[int, Marker]()
    ends = await log.ends(changelog, partitions)
    # The marker is a transaction's last record; behind it is only the log's own commit marker.
    starts = {partition: max(0, end - 2) for partition, end in enumerate(ends)}
    async for records in log.records(changelog, partitions, starts):
        for record in records:
            if record.key == MARKER_KEY:
                found[record.partition] = _decode_marker(record.value)
    return found


_decode_marker = msgspec.json.Decoder(Marker).decode
