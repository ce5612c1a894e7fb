"""The language and the log.

What everything else speaks: events and how they are decoded, topics, settings, the bridge from
NATS JetStream, the chunk transport under Faust and the transactional producer.

Import order, checked by import-linter: `streams <- tables <- agents <- gateway`. This package
imports none of the others. `nats` and `aiokafka` are imported here and nowhere else (but for the
sinks that speak NATS).
"""
