"""Progress of the projections, as one process knows it. Appenders wake the projector here, and callers wait here.

A request waits for a position that the rows of its generation reflect. So a caller reads its own writes without
polling.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable


class ProjectionProgress:
    """The positions that the rows of each generation reflect, the active generation, and the callers that wait."""

    def __init__(self) -> None:
        self.reader_generation = 0  # the generation that readers of this process see
        self.active_generation = 0
        self.on_append: Callable[[], None] | None = None  # wakes the projector, here or in another process
        self.on_advance: Callable[[], None] | None = None  # signals new positions to another process
        self._woken = asyncio.Event()
        self._positions: dict[tuple[int, int], int] = defaultdict(int)  # by generation and ledger
        self._position_changed: dict[int, asyncio.Condition] = defaultdict(asyncio.Condition)  # by ledger
        self._promoted = asyncio.Condition()

    def notify_appended(self) -> None:
        """Signal that events were appended. That alone moves no rows, so a process that only watches is not woken."""
        if self.on_append is not None:
            self.on_append()

    def notify(self) -> None:
        """Wake the loop of this process that projects or watches."""
        self._woken.set()

    def begin_round(self) -> None:
        """Forget earlier signals. Call it before positions are read, so that `wait_for_signal` misses none."""
        self._woken.clear()

    async def wait_for_signal(self, timeout_seconds: float) -> None:
        """Wait until `notify` is called, or for `timeout_seconds`, because another process may append too."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), timeout_seconds)

    async def wait_for(self, ledger_id: int, position: int, timeout_seconds: float) -> bool:
        """Wait until rows that readers of this process see reflect a position. Return False at the time limit."""
        changed = self._position_changed[ledger_id]
        try:
            async with asyncio.timeout(timeout_seconds), changed:
                await changed.wait_for(lambda: self._positions[self.reader_generation, ledger_id] >= position)
        except TimeoutError:
            return False
        return True

    async def wait_for_promotion(self, generation: int) -> int:
        """Wait until another generation than `generation` is active, and return its number."""
        async with self._promoted:
            await self._promoted.wait_for(lambda: self.active_generation not in (0, generation))
            return self.active_generation

    async def set_reader_generation(self, generation: int) -> None:
        """Set the generation that readers of this process see. `wait_for` waits for the rows of this generation."""
        self.reader_generation = generation
        for changed in list(self._position_changed.values()):
            async with changed:
                changed.notify_all()

    async def set_active_generation(self, generation: int) -> None:
        """Publish the number of the active generation."""
        if generation != self.active_generation:
            async with self._promoted:
                self.active_generation = generation
                self._promoted.notify_all()

    async def publish(self, generation: int, ledger_id: int, position: int) -> None:
        """Publish the position that the rows of a generation reflect."""
        if position != self._positions[generation, ledger_id]:
            self._positions[generation, ledger_id] = position
            async with self._position_changed[ledger_id]:
                self._position_changed[ledger_id].notify_all()
            if self.on_advance is not None:
                self.on_advance()

    def forget(self, generation: int) -> None:
        """Forget the positions of a generation whose connection ends: another server may have lost some of them."""
        for key in [key for key in self._positions if key[0] == generation]:
            del self._positions[key]
