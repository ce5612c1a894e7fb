"""What is encoded and waits for the appender: one round, which grows as long as the one before it is on its way to the log.

So an append carries whatever has come meanwhile, however long it took, and nobody waits who could encode. How much that is at most is the
puller's affair: what is not acknowledged is not pulled again.
"""

from __future__ import annotations

import asyncio

from streams.bridge_encode import Round


class Rounds:
    """Between one that encodes and one that appends."""

    def __init__(self) -> None:
        self.open: Round | None = None
        self._arrived: tuple[int, ...] | None = None
        self._news = asyncio.Event()

    def grown(self, round_: Round, arrived: tuple[int, ...] | None = None) -> None:
        """`round_` is the open one, or a new one where there was none. `arrived`: everything up to there is in it or was before."""
        self.open = round_
        self._arrived = arrived or self._arrived
        self._news.set()

    async def take(self) -> tuple[Round, tuple[int, ...] | None]:
        """Wait for the open round, and close it. Beside it what has arrived up to there, None where nothing has come to its end."""
        await self._news.wait()
        self._news.clear()
        round_, arrived = self.open, self._arrived
        self.open = self._arrived = None
        assert round_ is not None
        return round_, arrived
