"""The forms in which an op record says how it lowers.

Each form answers one question: which scalar expression gives the element of the result at index `at`?
Operands are reached only by `load(k, index)`, so that a pass may put a producer's expression in place
of a load: that is fusion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.expr import Expr, Index, cost, eq, index, select, temp
from graphflow.compiler.loops.nest import Stmt
from graphflow.compiler.loops.view import Side
from graphflow.compiler.records import record


class Load(Protocol):
    """Gives operand k at an index; zero, without touching memory, where `mask` is False."""

    def __call__(self, k: int, index: Index, mask: Expr | None = None) -> Expr: ...


AXIS, EACH = "axis", "each"  # an attribute holds numbers of axes; or an entry for each axis


class Form:
    """How one element of the result comes about. `work` is its cost in additions, without the operands'.

    follows  attribute -> AXIS or EACH: what changes where all of an op's tensors have their axes in another
             order, operands of a lower rank being broadcast as by numpy; None where the op minds the order
    """

    cheap = False  # worth computing again in each kernel that needs it
    alias = False  # the result has the operand's elements in the same linear order: no kernel is needed
    follows: Mapping[str, str] | None = None

    def value(self, op: Operation, at: Index, load: Load, let: Let) -> Expr:
        raise NotImplementedError

    def work(self, op: Operation) -> int:
        return 1


class Let(Protocol):
    """Names a value, so that an index can be computed from it; gives the temp."""

    def __call__(self, value: Expr) -> Expr: ...


class Pointwise(Form):
    """out[i] = fn(a[i], b[i], ...), operands broadcast to the result."""

    follows: Mapping[str, str] | None = {}

    def __init__(self, fn: Callable[..., Expr], with_op: bool = False) -> None:
        self.fn = fn
        self.with_op = with_op

    def value(self, op: Operation, at: Index, load: Load, let: Let) -> Expr:
        values = [load(k, broadcast_index(t.type, at)) for k, t in enumerate(op.operands)]
        return self.fn(op, *values) if self.with_op else self.fn(*values)

    def work(self, op: Operation) -> int:
        """Operands beyond a few count as more: each likely is a buffer of its own, slow to compile."""
        buffers = 8 * max(0, len(op.operands) - 4)
        return buffers + cost(self.value(op, (0,) * (op.out.type.rank or 0),
                               lambda k, index, mask=None: temp(f"a{k}", op.operands[k].dtype), lambda v: v))


class Indexed(Form):
    """out[i] = fn(op, i, load, let): any element of any operand. `cheap` for views and the like."""

    def __init__(self, fn: Callable[[Operation, Index, Load, Let], Expr], cheap: bool = False,
                 alias: bool = False, follows: Mapping[str, str] | None = None) -> None:
        self.fn = fn
        self.cheap = cheap
        self.alias = alias
        self.follows = follows

    def value(self, op: Operation, at: Index, load: Load, let: Let) -> Expr:
        return self.fn(op, at, load, let)


class Reduction(Form):
    """out[i] = combine over the reduced axes of a[i, j].

    `combine` is "add", "mul", "max", "min", "and" or "or".
    `axes(op)` gives the reduced axes of operand 0, ascending; `op.keepdims` says whether they stay as 1.
    """

    follows: Mapping[str, str] | None = {"axis": AXIS}

    def __init__(self, combine: str, axes: Callable[[Operation], tuple[int, ...]]) -> None:
        self.combine = combine
        self.axes = axes

    def source_index(self, op: Operation, at: Index, inner: Sequence[Dim]) -> Index:
        """The operand's index for a result index and one index per reduced axis."""
        axes = self.axes(op)
        keep = bool(op.attrs.get("keepdims"))
        outer = [d for k, d in enumerate(at) if not (keep and k in axes)]
        rank = op.operands[0].type.rank
        assert rank is not None
        inner_left, outer_left = iter(inner), iter(outer)
        return tuple(next(inner_left) if k in axes else next(outer_left) for k in range(rank))

    def value(self, op: Operation, at: Index, load: Load, let: Let) -> Expr:
        raise AssertionError("a reduction is lowered by its loop, not by one expression")


class BlockSum(Form):
    """out[i // length, k] += a[i, j, k]: sums over the `leading` axes, in blocks of `length` along the first.

    The walk is over the operand's elements in their order, so that it can share their loops with whatever
    else reads or makes them.
    """

    def value(self, op: Operation, at: Index, load: Load, let: Let) -> Expr:
        return load(0, at)


class Contraction(Form):
    """Batched matrix product out[.., m, n] = sum_k a[.., m, k] * b[.., k, n]; attributes `transpose_a/b`.

    `sides`, if given, says how the rows and columns of `a` lie in memory; all axes of the result but the last
    then number the rows, and the leading ones of `b` its rows. With an attribute `groups` above 1 the columns
    of the result are so many products side by side: `b` has a matrix for each, in front, and `shift(op)` says
    how many elements of `a` one begins after the one before it.
    """

    def __init__(self, sides: Callable[[Operation], tuple[Side, Side]] | None = None,
                 shift: Callable[[Operation], int] | None = None) -> None:
        self.sides = sides
        self.shift = shift

    def groups(self, op: Operation) -> int:
        count: int = op.attrs.get("groups", 1)
        return count


class Scatter(Form):
    """out = 0 (or operand `base`), then out[target(op, i)] += updates[i], in order. Operand 0: updates.

    `target` is given the updates' index, `load` and `let`, and returns an index of the result.
    """

    def __init__(self, target: Callable[[Operation, Index, Load, Let], Index],
                 base: int | None = None) -> None:
        self.target = target
        self.base = base


class Serial(Form):
    """Statements that the record writes itself, for what goes step by step: a kernel of its own."""

    def __init__(self, steps: Callable[[Operation, Workspace], list[Stmt]]) -> None:
        self.steps = steps


class Workspace(Protocol):
    """The memory of a `Serial` kernel: its operands, its result, and what it asks for."""

    def load(self, k: int, index: Index) -> Expr:
        """An element of operand k."""

    def store(self, index: Index, value: Expr) -> Stmt:
        """Set an element of the result."""

    def result(self, index: Index) -> Expr:
        """An element of the result, as stored so far."""

    def scratch(self, dtype: DType, size: Dim) -> str:
        """The name of a new buffer, with anything in it."""


@record
class Part:
    """Where a joined tensor lies: `index` gives the whole's index for one of its own.

    Parts of different pieces are computed apart, though they may be of one shape.
    """

    whole: Tensor
    index: Callable[[Index], Index]
    piece: int = 0


class Join(Form):
    """The result is its operands side by side, or between one another: `parts(op)` says where each lies.

    No kernel copies them there: those that compute the operands store them into the result's memory.
    """

    def __init__(self, parts: Callable[[Operation], list[Part]],
                 follows: Mapping[str, str] | None = None) -> None:
        self.parts = parts
        self.follows = follows


class Row(Form):
    """out = x, but row `at(op, i)` is the third operand, or with `add` has it added; operands x, i, row.

    The kernel writes that row alone where the result takes the memory of x.
    """

    def __init__(self, at: Callable[[Operation, Expr, Dim], Expr], add: bool) -> None:
        self.at = at
        self.add = add

    def value(self, op: Operation, at: Index, load: Load, let: Let) -> Expr:
        here = self.at(op, load(1, ()), op.out.type.known_dims[0])
        old, new = load(0, at), load(2, at[1:])
        return select(eq(index(at[0]), here), old + new if self.add else new, old)


def broadcast_index(operand: TensorType, at: Index) -> Index:
    """The operand's index under numpy's broadcasting: axes align from the right, a dim of 1 stays at 0."""
    dims = operand.known_dims
    skip = len(at) - len(dims)
    return tuple(0 if d == 1 else i for d, i in zip(dims, at[skip:], strict=True))


def view(index: Callable[[Operation, Index], Index], alias: bool = False,
         follows: Mapping[str, str] | None = None) -> Indexed:
    """A form that only moves elements: out[i] = a[index(op, i)]."""
    return Indexed(lambda op, at, load, let: load(0, index(op, at)), cheap=True, alias=alias, follows=follows)


def pointwise(fn: Callable[..., Expr]) -> Pointwise:
    return Pointwise(fn)


def pointwise_op(fn: Callable[..., Expr]) -> Pointwise:
    """As `pointwise`, with the operation as first argument, for attributes."""
    return Pointwise(fn, with_op=True)
