"""Records: dataclasses that cost little until they are used.

`dataclasses` compiles the text of six methods for every class when it is defined: 0.6 ms a class, a third of
`import graphflow`. Records share their methods but `__init__`, which is compiled when there are several
instances: that takes as long as to make 30 without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:
    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        return lambda function: function

C = TypeVar("C", bound=type)
Fields = tuple[Field[Any], ...]
_SEVERAL = 16


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: C) -> C:
    """`dataclass(frozen=True)`; methods that the class has itself stay."""
    all_fields = _described(cls)
    key = _key(all_fields)

    def equal(self: Any, other: object) -> Any:
        return key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(key(self))

    return _completed(cls, all_fields, __eq__=equal, __hash__=hashed, __setattr__=_refuse,
                      __delattr__=_refuse)


@dataclass_transform(field_specifiers=(field,))
def options(cls: C) -> C:
    """A class of fields that may be set, by keyword or later; a misspelt one is an error."""
    all_fields = _described(cls)
    names = frozenset(f.name for f in all_fields)

    def assign(self: Any, name: str, value: object) -> None:
        if name not in names:
            raise AttributeError(f"{cls.__name__} has no field {name!r}")
        object.__setattr__(self, name, value)

    return _completed(cls, all_fields, __setattr__=assign)


def _described(cls: type) -> Fields:
    """Its fields, found as `dataclasses` finds them, so that `fields` and `replace` know them too."""
    return fields(dataclass(init=False, repr=False, eq=False)(cls))


def _completed(cls: C, all_fields: Fields, **methods: Any) -> C:
    count = 0

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        values = _bound(all_fields, args, kwargs) if count < _SEVERAL else None
        if values is None:
            initialize = _initializer(all_fields)
            setattr(cls, "__init__", initialize)  # noqa: B010  (mypy takes an assignment for an unsafe one)
            initialize(self, *args, **kwargs)
        else:
            for f in all_fields:
                object.__setattr__(self, f.name, values[f.name])

    for name, method in (*methods.items(), ("__init__", first), ("__repr__", _repr)):
        if not cls.__dict__.get(name):  # __hash__ is None in a class with its own __eq__
            setattr(cls, name, method)
    return cls


def _key(all_fields: Fields) -> Callable[[Any], Any]:
    names = [f.name for f in all_fields if f.compare]
    return attrgetter(*names) if names else lambda self: ()


def _repr(self: Any) -> str:
    values = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr)
    return f"{type(self).__qualname__}({values})"


def _refuse(self: Any, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _bound(all_fields: Fields, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Each field's value for these arguments; None where they do not fit, as a real function is to say."""
    names = [f.name for f in all_fields]
    values = dict(zip(names, args, strict=False)) | kwargs
    if len(values) < len(args) + len(kwargs):
        return None
    for f in all_fields:
        if f.name not in values:
            if f.default_factory is not MISSING:
                values[f.name] = f.default_factory()
            elif f.default is not MISSING:
                values[f.name] = f.default
    return values if values.keys() == set(names) else None


def _initializer(all_fields: Fields) -> Callable[..., None]:
    scope: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": MISSING}
    params, body = ["self"], ["pass"]
    for f in all_fields:
        param, value = f.name, f.name
        if f.default_factory is not MISSING:
            scope[f"_{f.name}"] = f.default_factory
            param, value = f"{f.name}=_MISSING", f"_{f.name}() if {f.name} is _MISSING else {f.name}"
        elif f.default is not MISSING:
            scope[f"_{f.name}"] = f.default
            param = f"{f.name}=_{f.name}"
        params.append(param)
        body.append(f"_set(self, {f.name!r}, {value})")
    exec(f"def __init__({', '.join(params)}):\n " + "\n ".join(body), scope)
    made: Callable[..., None] = scope["__init__"]
    return made
