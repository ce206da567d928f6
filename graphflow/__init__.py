"""graphflow: define a graph with TensorFlow 1 names, run it as one native program.

    import graphflow as tf

Names, argument orders and defaults are TensorFlow 1's. This version has what dense and convolutional networks
need (README.md lists it); a TensorFlow name that is not there yet says so.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from graphflow.missing import missing_names
from graphflow.runtime.collection import paused, spare_what_there_is

if TYPE_CHECKING:
    from graphflow import app, bitwise, flags, logging

with paused():
    from graphflow import compat, names
    from graphflow.names import *  # noqa: F403

    spare_what_there_is()

__version__ = "1.15.0"  # the TensorFlow whose names these are; importlib.metadata has graphflow's own
__all__ = [*names.__all__, "__version__", "app", "bitwise", "flags", "logging"]

compat.v1 = sys.modules[__name__]
_missing = missing_names(__name__)


def __getattr__(name: str) -> object:
    """Modules that few programs use are imported when they are asked for."""
    if name in __all__:
        return importlib.import_module(f"graphflow.{name}")
    return _missing(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
