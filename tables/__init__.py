"""The memory: RocksDB stores, the aggregate and its changelogs, the replica that follows them, queries.

Imports `streams` only. `rocksdict` is imported in `tables/store.py` and nowhere else.
"""
