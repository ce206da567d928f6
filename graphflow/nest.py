"""tf.nest: values in nested lists, tuples, named tuples and dicts as one flat list, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def is_nested(structure: Any) -> bool:
    """Whether it is a list, tuple or dict."""
    return isinstance(structure, (list, tuple, Mapping))


def flatten(structure: Any) -> list[Any]:
    """The leaves in order; dicts in the order of their sorted keys."""
    if not is_nested(structure):
        return [structure]
    return [leaf for part in _parts(structure) for leaf in flatten(part)]


def _parts(structure: Any) -> list[Any]:
    return [structure[k] for k in sorted(structure)] if isinstance(structure, Mapping) else list(structure)


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """A structure like `structure` with the leaves of `flat_sequence`.

    Raises:  ValueError when their number is another
    """
    count = len(flatten(structure))
    if count != len(flat_sequence):
        raise ValueError(f"a structure of {count} values is given {len(flat_sequence)}: {structure!r}")
    left = iter(flat_sequence)
    return _pack(structure, lambda leaf: next(left))


def _pack(structure: Any, give: Callable[[Any], Any]) -> Any:
    if not is_nested(structure):
        return give(structure)
    if isinstance(structure, Mapping):
        made = {k: _pack(structure[k], give) for k in sorted(structure)}
        return type(structure)((k, made[k]) for k in structure)  # type: ignore[call-arg]
    parts = [_pack(p, give) for p in structure]
    return type(structure)(*parts) if hasattr(structure, "_fields") else type(structure)(parts)


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """func(leaf of each) for the leaves of structures of one kind, in a structure like the first."""
    for other in structures[1:]:
        assert_same_structure(structures[0], other)
    leaves = zip(*map(flatten, structures), strict=True)
    return pack_sequence_as(structures[0], [func(*group) for group in leaves])


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True) -> None:
    """ValueError unless both are nested alike; TypeError where one has another kind of sequence."""
    if is_nested(nest1) != is_nested(nest2):
        raise ValueError(f"the two structures are not nested alike: {nest1!r} and {nest2!r}")
    if not is_nested(nest1):
        return
    if check_types and type(nest1) is not type(nest2):
        raise TypeError(f"two structures differ in kind: {type(nest1).__name__} and {type(nest2).__name__}")
    one, other = (sorted(n) if isinstance(n, Mapping) else len(n) for n in (nest1, nest2))
    if one != other:
        raise ValueError(f"the two structures are not nested alike: {nest1!r} and {nest2!r}")
    for a, b in zip(_parts(nest1), _parts(nest2), strict=True):
        assert_same_structure(a, b, check_types)
