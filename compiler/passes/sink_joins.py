"""sink_joins: elementwise operations on interleaved phases are computed in each phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import live_operations, rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Pointwise
from graphflow.compiler.ops.indexing import strided_slice
from graphflow.compiler.ops.joining import interleave, interleaved

Box: TypeAlias = "tuple[Dim, Dim, int]"  # begin, end and step along an axis


def sink_joins(graph: Graph) -> Graph:
    """Move elementwise operations to where the phases are computed, so that they share their kernels.

    Example:  %4 = interleave(%0, %1, %2, %3) ; %5 = relu(%4)
    -->       %5 = interleave(relu(%0), relu(%1), relu(%2), relu(%3))
    """
    uses = Counter(t for op in live_operations(graph) for t in op.operands)
    uses.update((*graph.outputs, *graph.updates.values(), *graph.kept))

    def rule(new: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
        joined = next((t for t, old in zip(operands, op.operands, strict=True) if t.op.opdef is interleave
                       and uses[old] == 1 and t.type.dims == op.out.type.dims), None)
        if joined is None or not isinstance(op.opdef.lower, Pointwise):
            return None
        boxes = _boxes(joined.op)
        pieces = [joined.op.operands if t is joined else [_cut(t, box) for box in boxes] for t in operands]
        parts = [op.opdef(*each, **op.attrs) for each in zip(*pieces, strict=True)]
        result: Tensor = interleave(*parts, **joined.op.attrs)
        return result

    return rebuild(graph, rule)


def _boxes(join: Operation) -> list[list[Box]]:
    """For each part its places along the batch and the spatial axes."""
    places = interleaved([t.type.known_dims[0] for t in join.operands], join.strides)
    return [[(first, end, 1), *zip(phase, join.shape, join.strides, strict=True)]
            for first, end, phase in places]


def _cut(t: Tensor, box: Sequence[Box]) -> Tensor:
    """The part of a tensor that broadcasts to that of the whole; the channels are the last axis of both."""
    dims = t.type.known_dims[:-1]
    cuts = [(0, 1, 1) if d == 1 else place for d, place in zip(dims, box[len(box) - len(dims):], strict=True)]
    if all(c == (0, 1, 1) for c in cuts):
        return t
    begin, end, steps = zip(*cuts, strict=True)
    result: Tensor = strided_slice(t, begin=begin, end=end, strides=steps)
    return result
