"""Python's garbage collector, while many objects are made and hardly any cycles.

To it each new object is a reason to look at what is there, again and again: a tenth of `import graphflow`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collections within."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def spare_what_there_is() -> None:
    """From now on only full collections look at the objects there are, as at those that survived several."""
    if not gc.get_freeze_count():  # else a user has frozen some, which must stay so
        gc.freeze()
        gc.unfreeze()  # into the oldest generation
