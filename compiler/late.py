"""Late modules: files that are loaded when something in them is first asked for.

Loading code takes time, 0.2 ms a file, and a program uses few of the ops that there are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any


class _LateModule(ModuleType):
    """Stands for a module: what is looked up or set is looked up or set there."""

    @cached_property
    def _module(self) -> ModuleType:
        return import_module(self.__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._module, name, value)


def late_modules(package: str, *names: str) -> Callable[[str], Any]:
    """A package's `__getattr__`: `from package import name` loads none of these; other imports do."""
    def getattr_(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return _LateModule(f"{package}.{name}")

    return getattr_
