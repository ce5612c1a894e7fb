"""The judgement: dedup, validation, policy, fold, routing, sync state, sinks, quarantine, audit.

Each step is a pure function from (event, aggregate, rules) to an outcome; `pipeline.py` orders them;
`artifact.py` is the actor that owns a partition; `worker.py` composes the Faust application.
Imports `streams` and `tables`.
"""
