"""What a module says of a name of TensorFlow 1 that this version lacks."""

from __future__ import annotations

from collections.abc import Callable


def missing_names(module: str) -> Callable[[str], object]:
    """A module's `__getattr__`."""
    def getattr_(name: str) -> object:
        raise AttributeError(f"{module} has no {name!r} yet: README.md lists what there is; an op of your "
                             f"own is one record, see graphflow.extend")

    return getattr_
