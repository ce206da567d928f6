"""What a module says of a name that it lacks."""

from __future__ import annotations

import sys
from collections.abc import Callable

from graphflow.compiler.errors import close_to


def missing_names(module: str) -> Callable[[str], object]:
    """A module's `__getattr__`."""
    def getattr_(name: str) -> object:
        raise AttributeError(_text(module, name))

    return getattr_


def _text(module: str, name: str) -> str:
    if name.startswith("__"):
        return f"module {module!r} has no attribute {name!r}"
    from graphflow.lacking import LACKING

    lacking = LACKING[module].split()
    if name in lacking:
        return (f"{module} has no {name!r} yet: README.md lists what there is; an op of your own is one "
                f"record, see graphflow.extend")
    there = [n for n in vars(sys.modules[module]) if not n.startswith("_")]
    return f"{module} has no {name!r}, nor has TensorFlow 1{close_to(name, [*there, *lacking])}"
