"""Benchmarks: SyncMaster beside what one would pick instead, on the same broker, input and work. `python -m benchmarks --help`."""
