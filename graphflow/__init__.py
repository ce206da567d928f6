"""graphflow: define a graph with TensorFlow 1 names, run it as one native program.

    import graphflow as tf

Names, argument orders and defaults are TensorFlow 1's. This version has what dense and convolutional networks
need (README.md lists it); a TensorFlow name that is not there yet says so.
"""

from __future__ import annotations

import sys

from graphflow.missing import missing_names
from graphflow.runtime.collection import paused, spare_what_there_is

with paused():
    from graphflow import compat, names
    from graphflow.names import *  # noqa: F403

    spare_what_there_is()

__version__ = "1.15.0"  # the TensorFlow whose names these are; importlib.metadata has graphflow's own
__all__ = [*names.__all__, "__version__"]

__getattr__ = missing_names("graphflow")
compat.v1 = sys.modules[__name__]
