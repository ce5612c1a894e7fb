"""Every metric of SyncMaster, in one catalogue; docs/metrics.md is compared with it by a test.

Prometheus' conventions: base units, `_total` for counters. Labels are bounded: principals, components, types and outcomes come from
the configuration or a closed set (an unknown type is `other`), partitions from the topic. Never an artifact, an id or a digest.
"""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_RECORDS = (1, 4, 16, 64, 256, 1024, 4096, 16384)

# -- bridge ------------------------------------------------------------------------------------------------------------------
BRIDGE_MESSAGES = Counter("syncmaster_bridge_messages_total", "Messages taken from a principal's stream.", ["principal"])
BRIDGE_RECORDS = Counter("syncmaster_bridge_records_total", "Records acknowledged by the log.", ["principal"])
BRIDGE_LAG = Gauge("syncmaster_bridge_lag_messages", "Messages in the stream beyond the checkpoint.", ["principal"])
BRIDGE_STATE = Gauge("syncmaster_bridge_serving", "1 while this process serves the stream.", ["principal"])
BRIDGE_RESTARTS = Counter(
    "syncmaster_bridge_restarts_total", "Times a stream was started again from its checkpoint.", ["principal", "reason"]
)
RATE_LIMITED = Counter(
    "syncmaster_rate_limited_events_total",
    "Events beyond a rate limit: stamped by the bridge, or turned away.",
    ["principal", "door"],
)
BRIDGE_APPEND_SECONDS = Histogram(
    "syncmaster_bridge_append_seconds", "From a batch's first record to the log's acknowledgement.", buckets=_SECONDS
)

# -- engine ------------------------------------------------------------------------------------------------------------------
EVENTS = Counter("syncmaster_events_total", "Events judged.", ["outcome", "type", "principal"])
REPEATED = Counter("syncmaster_repeated_records_total", "Records dropped because their identity was taken before.")
COMMANDS = Counter("syncmaster_commands_total", "Commands carried out.", ["verb"])
CHUNK_RECORDS = Histogram("syncmaster_chunk_records", "Records in a chunk.", ["topic"], buckets=_RECORDS)
UNIT_SECONDS = Histogram("syncmaster_unit_of_work_seconds", "One turn: judging, transaction, RocksDB.", buckets=_SECONDS)
UNIT_ABORTS = Counter("syncmaster_unit_of_work_aborts_total", "Transactions given up; work went on from the marker.", ["reason"])
LOG_LAG = Gauge("syncmaster_log_lag_records", "Records in the topic beyond the marker.", ["topic", "partition"])
POLICY_FAILURES = Counter("syncmaster_policy_failures_total", "Times a policy could not be evaluated and refused.", ["policy"])
MARKER_AGE = Gauge(
    "syncmaster_marker_age_seconds", "Since the partition's marker last moved while there was work.", ["partition"]
)
PARTITIONS = Gauge("syncmaster_partitions", "Partitions of this worker.", ["state"])
AUDIT_CHECKPOINTS = Counter("syncmaster_audit_checkpoints_total", "Signed checkpoints of audit chains.", ["where", "outcome"])
RESTORE_REMAINING = Gauge("syncmaster_restore_remaining_records", "Changelog records still to apply.", ["partition"])
RESTORE_RECORDS = Counter("syncmaster_restore_records_total", "Changelog records applied.")
TABLE_KEYS = Gauge("syncmaster_table_keys", "Estimated keys in the store.", ["partition"])
TABLE_BYTES = Gauge("syncmaster_table_bytes", "Bytes of the store on disk.", ["partition"])

# -- sync --------------------------------------------------------------------------------------------------------------------
OUT_OF_STEP = Gauge("syncmaster_out_of_step_pairs", "(artifact, component) pairs that are not in sync.", ["component", "state"])
OLDEST_OUT_OF_STEP = Gauge("syncmaster_out_of_step_oldest_seconds", "Age of the oldest pair that is not in sync.", ["component"])
HELD_PAIRS = Gauge(
    "syncmaster_held_pairs", "Pairs whose delivery waits under a hold, as far as this worker remembers.", ["component"]
)
ATTEMPTS = Counter("syncmaster_delivery_attempts_total", "Delivery attempts.", ["component", "outcome"])
DELIVERY_SECONDS = Histogram("syncmaster_delivery_seconds", "One attempt.", ["component", "outcome"], buckets=_SECONDS)

# -- alerts ------------------------------------------------------------------------------------------------------------------
ALERTS = Counter("syncmaster_alerts_total", "Alerts, by what their receiver got of them.", ["receiver", "outcome"])
ALERTS_LOST = Counter(
    "syncmaster_alerts_lost_total", "Alerts given up because the log was away for too long; they are in the process's log."
)

# -- control -----------------------------------------------------------------------------------------------------------------
HOLDS = Gauge("syncmaster_holds", "Holds in effect, as this gateway knows them.", ["verb"])
CONTROL_AGE = Gauge(
    "syncmaster_control_age_seconds", "Age of what is known of holds and keys; a worker with more than 0.7 begins no delivery."
)

# -- quarantine --------------------------------------------------------------------------------------------------------------
QUARANTINED = Gauge(
    "syncmaster_quarantine_entries", "Messages in quarantine, with those that wait behind them.", ["reason", "rule"]
)
PARKED = Gauge("syncmaster_parked_artifacts", "Artifacts whose events wait behind one that is parked.")
OLDEST_PARKED = Gauge("syncmaster_parked_oldest_seconds", "Since when the artifact that has waited longest does.")

# -- gateway -----------------------------------------------------------------------------------------------------------------
REPLICA_LAG = Gauge("syncmaster_replica_lag_records", "Changelog records that the read replica has yet to apply.")
HTTP_REQUESTS = Counter("syncmaster_http_requests_total", "HTTP requests.", ["method", "route", "status"])
HTTP_SECONDS = Histogram("syncmaster_http_request_seconds", "HTTP requests.", ["method", "route"], buckets=_SECONDS)
LOGINS_REFUSED = Counter(
    "syncmaster_logins_refused_total", "Requests and NATS logins of nobody known, or of somebody who may not.", ["code"]
)
LOGINS_UNAUDITED = Counter("syncmaster_logins_unaudited_total", "Records of refusals given up because the log was away.")
ADVISORIES_DROPPED = Counter(
    "syncmaster_nats_advisories_dropped_total", "What NATS said of refused logins and was not understood."
)


@lru_cache(maxsize=1024)
def type_label(event_type: str) -> str:
    """An event type without what a producer may vary: `dev.cdevents.artifact.published.0.2.0` -> `dev.cdevents.artifact.published`."""
    parts = event_type.split(".")
    return ".".join(parts[: 4 if parts[0] == "dev" else 3])
