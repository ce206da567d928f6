"""split_reductions: large reductions in steps that walk memory in its order and can run in parts."""

from __future__ import annotations

from graphflow.compiler.ir.dims import Dim, product
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.rewrite import rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Reduction
from graphflow.compiler.ops.blocks import block_count, block_sum
from graphflow.compiler.ops.reductions import reduce_sum
from graphflow.compiler.ops.shapes import reshape

_FEWEST_COLUMNS = 16     # fewer do not fill a vector
_SHORTEST_ROW = 64       # elements that are reduced to one at a time
_FEWEST_ELEMENTS = 4096
_LONGEST_BLOCK = 256     # additions one after another: what they lose in precision stays small
_SMALL = 1 << 16         # elements that a core goes through sooner than another is told to help


def split_reductions(graph: Graph) -> Graph:
    """Sum leading axes in blocks of rows, and reduce over several axes one after another.

    Example:  %1 = reduce_sum(x, axis=(0,)) : f32[1000]      # x: f32[4096,1000]
    -->       %1 = block_sum(x, leading=1, length=256) : f32[16,1000] ; %2 = reduce_sum(%1, axis=(0,))
    """
    return rebuild(graph, _split)


def _split(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    form = op.opdef.lower
    if not isinstance(form, Reduction) or not op.out.dtype.size >= 4:
        return None
    x, axes = operands[0], form.axes(op)
    for way in (_by_steps, _by_blocks):
        found = way(op, x, axes)
        if found is not None:
            same = found.type == op.out.type
            result: Tensor = found if same else reshape(found, shape=op.out.type.known_dims)
            return result
    if op.attrs["axis"] != axes:  # one spelling, so that cse knows equals
        result = op.opdef(x, axis=axes, keepdims=op.keepdims)
        return result
    return None


def _by_steps(op: Operation, x: Tensor, axes: tuple[int, ...]) -> Tensor | None:
    """First over trailing axes, the result of which other reductions may want too; then over the others."""
    dims = x.type.known_dims
    rank, size = len(dims), product(dims)
    if isinstance(size, int) and size < _SMALL:
        return None
    start = rank
    while start - 1 in axes and not _at_least(product(dims[start:]), _SHORTEST_ROW):
        start -= 1
    trailing, rest = tuple(range(start, rank)), tuple(a for a in axes if a < start)
    if not trailing or not _at_least(product(dims[a] for a in rest), 2):
        return None
    inner: Tensor = op.opdef(x, axis=trailing)
    found = _by_blocks(op, inner, rest)
    result: Tensor = op.opdef(inner, axis=rest) if found is None else found
    return result


def _by_blocks(op: Operation, x: Tensor, axes: tuple[int, ...]) -> Tensor | None:
    """A sum over leading axes: each row is added to the sums of its block."""
    dims, leading = x.type.known_dims, len(axes)
    if op.opdef is not reduce_sum or not axes or axes != tuple(range(leading)) or leading == len(dims):
        return None
    columns, rows = product(dims[leading:]), product(dims[:leading])
    if not (isinstance(columns, int) and columns >= _FEWEST_COLUMNS) or dims[0] == 1:
        return None
    if isinstance(rows, int) and rows * columns < _FEWEST_ELEMENTS:
        return None
    length = block_length(dims, product(dims))
    blocks: Tensor = block_sum(x, leading=leading, length=length)
    if block_count(dims[0], length) == 1:
        return blocks
    result: Tensor = reduce_sum(blocks, axis=0)
    return result


def block_length(dims: tuple[Dim, ...], size: Dim) -> int:
    """Rows of axis 0 in a block: all where that is little work, else enough blocks for several cores.

    It follows from the operand's shape alone, so that sums over the same rows can share their loops, and
    does not depend on the number of threads, so that neither do results.
    """
    rows = dims[0]
    if not isinstance(rows, int) or not isinstance(size, int):
        return _LONGEST_BLOCK
    if size <= _SMALL and rows <= _LONGEST_BLOCK:
        return rows
    return min(_LONGEST_BLOCK, -(-rows // 16))


def _at_least(d: Dim, limit: int) -> bool:
    """Whether an unknown dim counts as large: batches do."""
    return not isinstance(d, int) or d >= limit
