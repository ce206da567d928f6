"""layout: ops that do not mind the order of their axes take the one that leaves the least to transpose.

A convolution wants channels last, a feed or a fetch comes as the user has it. In between lie ops that go
element by element, reductions, pads and the like: they form regions, in each of which all values can be kept
in one order of the axes. The transposes between them vanish, those at the edges stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from graphflow.compiler.ir.dims import Dim, atoms_of, evaluate, product
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import connect, live_operations
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.forms import EACH, Contraction, Reduction
from graphflow.compiler.ops.core import constant
from graphflow.compiler.ops.shapes import permutation, reshape, transpose
from graphflow.compiler.records import record

Perm = tuple[int, ...]  # of a transpose: axis k of its result is axis perm[k] of its operand
Entry = TypeVar("Entry")

_TYPICAL = 32  # what an unknown dim counts as where sizes are compared


def layout(graph: Graph) -> Graph:
    """Let transposes cancel through the ops between them, or move to where they have less to do.

    A region keeps its transposes unless another order leaves fewer elements to transpose.

    Example:  %0 = transpose(y, perm=(0, 3, 1, 2)) ; %1 = relu(%0) ; %2 = transpose(%1, perm=(0, 2, 3, 1))
    -->       %0 = relu(y)
    """
    if not any(op.opdef is transpose for op in graph.operations):
        return graph
    orders = _Orders(graph)
    for region in orders.regions():
        orders.improve(region)
    return _Writer(orders).run()


# Orders of axes

def _then(first: tuple[Entry, ...], second: Perm) -> tuple[Entry, ...]:
    """One transpose in place of two; or an entry for each axis of what is transposed, in the new order."""
    return tuple(first[k] for k in second)


def _inverse(perm: Perm) -> Perm:
    return tuple(perm.index(k) for k in range(len(perm)))


def _same(rank: int) -> Perm:
    return tuple(range(rank))


def _swap(rank: int) -> Perm:
    """Of a matrix to its transpose."""
    return (*range(rank - 2), rank - 1, rank - 2)


def _widened(perm: Perm, rank: int) -> Perm:
    """The same for a tensor with axes of 1 in front, up to a rank."""
    more = rank - len(perm)
    return (*range(more), *(more + p for p in perm))


def _moves_nothing(dims: tuple[Dim, ...], perm: Perm) -> bool:
    """Whether elements stay in their linear order, so that a reshape does."""
    kept = [p for p in perm if dims[p] != 1]
    return kept == sorted(kept)


def _source(t: Tensor) -> tuple[Tensor, Perm]:
    """What t is a transpose of, and by which permutation; t itself if of nothing."""
    perm = _same(t.type.rank or 0)
    while t.op.opdef is transpose:
        t, perm = t.op.operands[0], _then(permutation(t.op), perm)
    return t, perm


# Ops that take any order

def _frame(op: Operation) -> tuple[Dim, ...]:
    """The dims that an op goes over: of a reduction those of its operand."""
    t = op.operands[0] if isinstance(op.opdef.lower, Reduction) else op.out
    return t.type.known_dims


def _is_flexible(op: Operation) -> bool:
    follows = getattr(op.opdef.lower, "follows", None)
    if follows is None or len(_frame(op)) < 2:
        return False
    return all(isinstance(op.attrs[key], tuple) for key, kind in follows.items() if kind is EACH)


def _drops_axes(op: Operation) -> bool:
    return isinstance(op.opdef.lower, Reduction) and not op.keepdims


def _result_order(op: Operation, order: Perm) -> Perm:
    """How the result of an op lies that goes over its axes in an order."""
    if not _drops_axes(op):
        return order
    reduced = op.opdef.lower.axes(op)
    left = [a for a in order if a not in reduced]
    return tuple(sorted(left).index(a) for a in left)


def _attrs_in(op: Operation, order: Perm) -> dict[str, Any]:
    """The attributes of an op that goes over its axes in an order."""
    result = dict(op.attrs)
    for key, kind in op.opdef.lower.follows.items():
        value = result[key]
        if kind is EACH:
            result[key] = _then(value, order)
        elif isinstance(value, tuple):
            result[key] = tuple(sorted(order.index(a % len(order)) for a in value))
        elif value is not None:
            result[key] = order.index(value % len(order))
    return result


@record
class _Use:
    """An op, or None for a result of the graph, that takes `perm` of some tensor, with axes up to `rank`.

    swaps  whether it would as well take the last two axes in the other order, as a matrix product does
    """

    op: Operation | None
    perm: Perm
    rank: int
    swaps: bool


Region = dict[Operation, Perm]  # op -> which of its axes each axis of the region is


class _Orders:
    """The order in which each flexible op goes over its axes: at first its own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operations = [op for op in live_operations(graph) if op.opdef is not transpose]
        self.of = {op: _same(len(_frame(op))) for op in self.operations if _is_flexible(op)}
        self.uses: dict[Tensor, list[_Use]] = {}
        for op in self.operations:
            for t in op.operands:
                self._use(t, op)
        for t in (*graph.outputs, *graph.updates.values(), *graph.kept):
            self._use(t, None)

    def _use(self, t: Tensor, op: Operation | None) -> None:
        source, perm = _source(t)
        rank = len(_frame(op)) if op in self.of and t.type.rank else len(perm)
        swaps = op is not None and isinstance(op.opdef.lower, Contraction) and rank >= 2
        self.uses.setdefault(source, []).append(_Use(op, _widened(perm, rank), rank, swaps))

    def stored(self, t: Tensor) -> Perm:
        """Which axes of a tensor those of what is in memory are."""
        order = self.of.get(t.op)
        return _same(t.type.rank or 0) if order is None else _result_order(t.op, order)

    def change(self, t: Tensor, perm: Perm, op: Operation | None) -> tuple[tuple[Dim, ...], Perm]:
        """How t, as stored, becomes the `transpose(t, perm)` that an op needs: dims, their permutation."""
        rank, stored = len(perm), self.stored(t)
        wide = _widened(stored, rank)
        wanted = _then(perm, self.of[op]) if op in self.of and rank == len(self.of[op]) else perm
        dims = (1,) * (rank - len(stored)) + _then(t.type.known_dims, stored)
        return dims, _then(_inverse(wide), wanted)

    # Regions

    def regions(self) -> Iterator[Region]:
        """Flexible ops that use each other's results, with how their axes correspond."""
        left = dict.fromkeys(self.of)
        neighbours = self._neighbours()
        while left:
            first = next(iter(left))
            region: Region = {first: _same(len(_frame(first)))}
            stack = [first]
            while stack:
                op = stack.pop()
                left.pop(op)
                for other, perm in neighbours.get(op, ()):
                    if other not in region:
                        region[other] = _then(perm, region[op])
                        stack.append(other)
            yield region

    def _neighbours(self) -> dict[Operation, list[tuple[Operation, Perm]]]:
        """For each op those next to it, with which of their axes each of its own is."""
        found: dict[Operation, list[tuple[Operation, Perm]]] = {}
        for t in self.uses:
            (op, perm), *others = self._ends(t) or [(t.op, ())]
            for other, its in others:
                found.setdefault(op, []).append((other, _then(_inverse(its), perm)))
                found.setdefault(other, []).append((op, _then(_inverse(perm), its)))
        return found

    def _ends(self, t: Tensor) -> list[tuple[Operation, Perm]]:
        """The flexible ops that make t and take it, with what they take; none if its order is no matter.

        Of what is made in a given order, those that take a transpose.
        """
        rank = t.type.rank or 0
        if sum(d != 1 for d in t.type.known_dims) < 2:
            return []
        made = [(t.op, _same(rank))] if t.op in self.of and not _drops_axes(t.op) else []
        return made + [(use.op, use.perm) for use in self.uses[t] if use.op in self.of and use.rank == rank
                       and (made or use.perm != _same(rank))]

    def improve(self, region: Region) -> None:
        """Take the order of the region's axes that leaves the fewest elements to transpose."""
        around = {_source(t)[0] for op in region for t in (op.out, *op.operands)}
        best, least = {op: self.of[op] for op in region}, self._cost(around)
        for order in dict.fromkeys(self._suggested(region)):
            self.of.update((op, _then(axes, order)) for op, axes in region.items())
            cost = self._cost(around)
            if cost < least:
                best, least = {op: self.of[op] for op in region}, cost
        self.of.update(best)

    def _suggested(self, region: Region) -> Iterator[Perm]:
        """Orders in which something that the region takes or gives needs no transpose."""
        for op, axes in region.items():
            for t in op.operands:
                source, perm = _source(t)
                if len(perm) == len(axes) and (source.op not in self.of or _drops_axes(source.op)):
                    yield _then(_inverse(axes), _then(_inverse(perm), self.stored(source)))
            if not _drops_axes(op):
                for use in self.uses.get(op.out, ()):
                    if use.op not in self.of:
                        yield _then(_inverse(axes), use.perm)
                        if use.swaps:
                            yield _then(_inverse(axes), _then(use.perm, _swap(use.rank)))

    def _cost(self, around: set[Tensor]) -> int:
        """Elements that the transposes of these tensors move."""
        total = 0
        for t in around:
            if t.op.opdef is not constant:
                moving = {self.change(t, use.perm, use.op)[1] for use in self.uses.get(t, ())
                          if not self._is_free(t, use)}
                total += len(moving) * _typical_size(t.type)
        return total

    def _is_free(self, t: Tensor, use: _Use) -> bool:
        """Whether nothing has to move for an op that takes t as it is stored."""
        dims, perm = self.change(t, use.perm, use.op)
        return _moves_nothing(dims, perm) or (use.swaps and perm == _swap(use.rank))


def _typical_size(kind: TensorType) -> int:
    size = product(kind.known_dims)
    return size if isinstance(size, int) else evaluate(size, dict.fromkeys(atoms_of(size), _TYPICAL))


# The new graph

class _Writer:
    """Writes the graph with every op in its order; transposes are made where they are asked for."""

    def __init__(self, orders: _Orders) -> None:
        self.orders = orders
        self.new = Graph(orders.graph.rules)
        self.stored: dict[Tensor, Tensor] = {}
        self.made: dict[tuple[Tensor, tuple[Dim, ...], Perm], Tensor] = {}

    def run(self) -> Graph:
        old = self.orders.graph
        with self.new.as_default():
            for op in self.orders.operations:
                self.new.origin = op
                self._copy(op)
            results = {t: self._needed(t, None)
                       for t in (*old.outputs, *old.updates.values(), *old.kept)}
        self.new.origin = None
        connect(self.new, old, self.stored | results)
        return self.new

    def _copy(self, op: Operation) -> None:
        operands = tuple(self._needed(t, op) for t in op.operands)
        order = self.orders.of.get(op)
        attrs = op.attrs if order is None else _attrs_in(op, order)
        types = tuple(TensorType(t.dtype, _then(t.type.known_dims, self.orders.stored(t)))
                      for t in op.outputs)
        self.stored.update(zip(op.outputs, self.new.append_copy(op, operands, attrs, types).outputs,
                               strict=True))

    def _needed(self, t: Tensor, op: Operation | None) -> Tensor:
        """A tensor as an op wants it, or as a result of the graph."""
        source, perm = _source(t)
        order = self.orders.of.get(op) if op is not None and perm else None
        wide = perm if order is None else _widened(perm, len(order))
        dims, change = self.orders.change(source, wide, op)
        found = self.stored[source]
        key = found, dims, change
        if change != _same(len(change)) and key not in self.made:
            self.made[key] = _transposed(found, dims, change, narrow=len(wide) > len(perm))
        return self.made.get(key, found)


def _transposed(t: Tensor, dims: tuple[Dim, ...], perm: Perm, narrow: bool) -> Tensor:
    """t, as of these dims, transposed; by a reshape if that does, without 1s in front if `narrow`."""
    if not _moves_nothing(dims, perm):
        wide = t if dims == t.type.dims else reshape(t, shape=dims)
        moved: Tensor = transpose(wide, perm=perm)
        return moved
    result = _then(dims, perm)
    while narrow and result and result[0] == 1:
        result = result[1:]
    shaped: Tensor = t if result == t.type.dims else reshape(t, shape=result)
    return shaped
