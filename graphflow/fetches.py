"""The shape of what a user asks of Session.run: from nested fetches to a flat list, and values back again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.records import record

Rebuild = Callable[[list[Any]], Any]


@record
class Plan:
    """What to compute, and how to give it back: `rebuild` None hands out the list of values itself."""

    tensors: list[Tensor]
    targets: list[Operation]
    rebuild: Rebuild | None


def plan_fetches(graph: Graph, fetches: Any) -> Plan:
    """Flatten fetches, each tensor once; raises GraphError or TypeError for what this graph does not have."""
    places: dict[Tensor, int] = {}
    targets: dict[Operation, None] = {}
    rebuild = _rebuilder(graph, fetches, places, targets)
    as_it_is = type(fetches) is list and len(fetches) == len(places) and not targets and _is_flat(fetches)
    return Plan(list(places), list(targets), None if as_it_is else rebuild)


def _is_flat(fetches: list[Any]) -> bool:
    return not any(isinstance(f, (list, tuple, Mapping)) for f in fetches)


def structure_key(fetches: Any) -> Any:
    """A hashable stand-in: equal for fetches of the same things in structures of the same kinds."""
    if isinstance(fetches, (list, tuple)):
        return type(fetches), *map(structure_key, fetches)
    if isinstance(fetches, Mapping):
        return type(fetches), tuple(fetches), *map(structure_key, fetches.values())
    return fetches


def _rebuilder(graph: Graph, fetches: Any, places: dict[Tensor, int],
               targets: dict[Operation, None]) -> Rebuild:
    """A function from the flat values to a structure like `fetches` (nested as deep as the user wrote it)."""
    if fetches is None:
        raise TypeError("Session.run: None is no tensor, operation or name of one")
    if isinstance(fetches, Mapping):
        keys, values = list(fetches), list(fetches.values())
        inner = [_rebuilder(graph, v, places, targets) for v in values]
        make = dict if type(fetches) is dict else _like(fetches)
        return lambda flat: make(zip(keys, [f(flat) for f in inner], strict=True))
    if isinstance(fetches, (list, tuple)):
        inner = [_rebuilder(graph, v, places, targets) for v in fetches]
        make = fetches._make if hasattr(fetches, "_make") else type(fetches)
        return lambda flat: make([f(flat) for f in inner])
    fields = getattr(type(fetches), "__attrs_attrs__", None)
    if fields is not None:
        kind = type(fetches)
        inner = [_rebuilder(graph, getattr(fetches, a.name), places, targets) for a in fields]
        return lambda flat: kind(*[f(flat) for f in inner])
    return _leaf(graph.as_graph_element(fetches), places, targets)


def _like(fetches: Mapping[Any, Any]) -> Callable[[Any], Any]:
    """An empty mapping of the user's own kind, filled; a plain dict where that kind cannot be made so."""
    def make(items: Any) -> Any:
        result = fetches.copy() if hasattr(fetches, "copy") else dict(fetches)
        for key, value in items:
            result[key] = value
        return result
    return make


def _leaf(element: Tensor | Operation, places: dict[Tensor, int], targets: dict[Operation, None]) -> Rebuild:
    if isinstance(element, Operation):
        targets[element] = None
        return _nothing
    return itemgetter(places.setdefault(element, len(places)))


def _nothing(flat: list[Any]) -> None:
    return None
