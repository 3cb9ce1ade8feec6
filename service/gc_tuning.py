"""Spare the garbage collector what stays for ever: after the start, modules, shapes and routes are all there are.

A full collection looks at every object it knows, tens of milliseconds in which nobody is answered.
"""

import gc

ALLOCATIONS_PER_COLLECTION = 20_000  # most are freed without it, since nothing refers back to what refers to it


def freeze_loaded_objects() -> None:
    """Look no more at what is loaded now, and less often at what comes. Call it once, when a process has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)
