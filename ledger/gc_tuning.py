"""Keep the garbage collector away from objects that it cannot free: loaded modules, cached subjects, facts and rows.

A full collection visits every tracked object. It takes tens of milliseconds. No request is answered during that time.
"""

import contextlib
import gc
from collections.abc import Iterator

ALLOCATIONS_PER_COLLECTION = 20_000  # most objects are freed by reference counting, since they are in no cycle
FOLD_THRESHOLDS = (50_000, 10, 10)  # for gc.set_threshold


def freeze_loaded_objects() -> None:
    """Exclude the objects loaded so far from collection, and collect less often. Call it once, after the start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)


@contextlib.contextmanager
def reduced_gc() -> Iterator[None]:
    """Collect rarely while facts are folded.

    Facts and rows are created by the thousand and freed without the collector. A frequent scan of all cached subjects
    would cost as much as the folding.
    """
    before = gc.get_threshold()
    gc.set_threshold(*FOLD_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
