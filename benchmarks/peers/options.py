"""What every peer is told on its command line: `bootstrap input prefix partitions directory`. Outputs are `<prefix>.portal|store|audit`."""

from __future__ import annotations

import sys
from typing import NamedTuple


class Options(NamedTuple):
    bootstrap: str
    input: str
    prefix: str  # also the group, so that a peer starts from nothing
    partitions: int
    directory: str

    @property
    def portal(self) -> str:
        return f"{self.prefix}.portal"

    @property
    def store(self) -> str:
        return f"{self.prefix}.store"

    @property
    def audit(self) -> str:
        return f"{self.prefix}.audit"


def options() -> Options:
    bootstrap, source, prefix, partitions, directory = sys.argv[1:6]
    return Options(bootstrap, source, prefix, int(partitions), directory)
