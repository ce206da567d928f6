"""simplify: a table of small rules, each of which keeps the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.rewrite import rebuild
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops.core import constant, program_input
from graphflow.compiler.ops.rows import only_row, row_add, row_at

MOST_TERMS = 24  # of one sum: a kernel that reads hundreds of buffers is slow to compile
Rule = Callable[[Operation, "tuple[Tensor, ...]"], "Tensor | None"]


def simplify(graph: Graph) -> Graph:
    """Drop what does nothing and merge what cancels, by the rules in RULES.

    Example:  %1 = mul(x, 1.0) ; %2 = transpose(w) ; %3 = matmul(%1, %2)
    -->       %3 = matmul(x, w, transpose_b=True)
    """
    return rebuild(graph, _simplify_one)


def _simplify_one(graph: Graph, op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    for rule in RULES.get(op.opdef.name, ()):
        result = rule(op, operands)
        if result is not None:
            return result
    return None


def _number(t: Tensor) -> Any:
    """The value of a constant whose elements are all one number, else None."""
    if t.op.opdef is not constant:
        return None
    array = t.op.value.array
    return array.ravel()[0] if array.size == 1 else None


def _is(t: Tensor, value: float) -> bool:
    number = _number(t)
    return number is not None and bool(number == value) and not (value == 0 and np.signbit(number))


def _keeps_type(op: Operation, t: Tensor) -> bool:
    return t.type == op.out.type


def _drop(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """identity(x) -> x"""
    return operands[0]


def _neutral(value: float, right: bool = True, left: bool = False) -> Rule:
    """x * 1, 1 * x, x - 0, x / 1 -> x. (Not x + 0: it makes -0.0 of nothing else.)"""
    def rule(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
        x, y = operands
        if right and _is(y, value) and _keeps_type(op, x):
            return x
        return y if left and _is(x, value) and _keeps_type(op, y) else None
    return rule


def _no_change(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """cast(x, its own dtype), reshape(x, its own shape), broadcast_to(x, its own shape) -> x"""
    return operands[0] if _keeps_type(op, operands[0]) else None


def _reshape_twice(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """reshape(reshape(x)) -> reshape(x)"""
    inner = operands[0].op
    if inner.opdef is not op.opdef:
        return None
    result: Tensor = op.opdef(inner.operands[0], shape=op.out.type.dims)
    return result


def _permutation(op: Operation) -> tuple[int, ...]:
    perm = op.attrs["perm"]
    rank = op.out.type.rank
    assert rank is not None
    return tuple(range(rank))[::-1] if perm is None else tuple(p % rank for p in perm)


def _transpose(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """transpose(transpose(x)) -> one transpose, or x where they cancel"""
    perm, x = _permutation(op), operands[0]
    if x.op.opdef is op.opdef:
        first = _permutation(x.op)
        perm, x = tuple(first[p] for p in perm), x.op.operands[0]
    if perm == tuple(range(len(perm))):
        return x
    if x is operands[0]:
        return None
    result: Tensor = op.opdef(x, perm=perm)
    return result


def _swaps_last_two(op: Operation) -> bool:
    if op.opdef.name != "transpose":
        return False
    perm = _permutation(op)
    rank = len(perm)
    return rank >= 2 and perm == (*range(rank - 2), rank - 1, rank - 2)


def _matmul_flags(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """matmul(transpose(x), y) -> matmul(x, y, transpose_a=True)"""
    a, b = operands
    flags = dict(op.attrs)
    if _swaps_last_two(a.op):
        a, flags["transpose_a"] = a.op.operands[0], not op.transpose_a
    if _swaps_last_two(b.op):
        b, flags["transpose_b"] = b.op.operands[0], not op.transpose_b
    if (a, b) == operands:
        return None
    result: Tensor = op.opdef(a, b, **flags)
    return result


def _outer_product(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """matmul(x, y) -> mul(x, y) for x of one column and y of one row: what follows joins its kernel"""
    a, b = operands
    inner = a.type.known_dims[-2 if op.transpose_a else -1], b.type.known_dims[-1 if op.transpose_b else -2]
    if inner != (1, 1) or not a.dtype is b.dtype is op.out.dtype is op.out.dtype.sums:
        return None
    result: Tensor = REGISTRY["mul"](_turned(a) if op.transpose_a else a, _turned(b) if op.transpose_b else b)
    return result


def _turned(t: Tensor) -> Tensor:
    """With its last two axes exchanged."""
    *first, rows, columns = range(len(t.type.known_dims))
    result: Tensor = REGISTRY["transpose"](t, perm=(*first, columns, rows))
    return result


def _narrow_matrix(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """matmul(x, cast(w)) -> matmul(x, w) with sums of x's dtype, where w is narrower and nothing is lost

    A product reads its right operand in panels or vectors, and converts it on the way.
    """
    a, b = operands
    if b.op.opdef.name != "cast" or not a.dtype is b.dtype is a.dtype.sums or not a.dtype.is_floating:
        return None
    narrow = b.op.operands[0]
    if narrow.dtype.size >= b.dtype.size or not narrow.dtype.fits_into(b.dtype):
        return None
    result: Tensor = op.opdef(a, narrow, **{**op.attrs, "output_type": a.dtype})
    return result


def _square(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """pow(x, 2) -> square(x); pow(x, 1) -> x"""
    x, y = operands
    if _is(y, 2) and _keeps_type(op, x):
        result: Tensor = REGISTRY["square"](x)
        return result
    return x if _is(y, 1) and _keeps_type(op, x) else None


def _one_term(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """add_n(x) -> x"""
    return operands[0] if len(operands) == 1 and _keeps_type(op, operands[0]) else None


def _whole_slice(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """x[:] -> x"""
    return operands[0] if _keeps_type(op, operands[0]) and all(s == 1 for s in op.strides) else None


def _gathered_row(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """gather(x, i) -> row_at(x, i) for a scalar i along axis 0"""
    x, index = operands
    if index.type.rank != 0 or op.axis not in (0, -(x.type.rank or 0)):
        return None
    result: Tensor = row_at(x, index, name=op.name)
    return result


def _scattered_row(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """scatter_sum(x, i) -> only_row(x, i) for a scalar i along axis 0"""
    x, index = operands
    if index.type.rank != 0 or op.axis != 0:
        return None
    result: Tensor = only_row(x, index, size=op.size, name=op.name)
    return result


def _add_to_row(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """s + only_row(x, i) -> row_add(s, i, x), where s is a loop's variable: it can be done in place"""
    for s, g in (operands, operands[::-1]):
        parts = g.op.operands if g.op.opdef.name == "add_n" else (g,)
        if s.op.opdef is program_input and s.op.kind == "loop" and _keeps_type(op, s) and \
                all(p.op.opdef is only_row for p in parts):
            for p in parts:
                s = row_add(s, p.op.index, p.op.row, checked=p.op.checked, name=p.op.name)
            return s
    return None
def _grouped(op: Operation, operands: tuple[Tensor, ...]) -> Tensor | None:
    """add_n(a, b, ... z) -> add_n(add_n(a, ...), ..., add_n(..., z)) where there are too many for a kernel"""
    if len(operands) <= MOST_TERMS:
        return None
    terms = operands
    while len(terms) > 1:
        terms = tuple(op.opdef(*terms[k:k + MOST_TERMS]) for k in range(0, len(terms), MOST_TERMS))
    return terms[0]


RULES: dict[str, tuple[Rule, ...]] = {
    "identity": (_drop,),
    "strided_slice": (_whole_slice,),
    "gather": (_gathered_row,), "scatter_sum": (_scattered_row,), "add": (_add_to_row,),
    "mul": (_neutral(1, left=True),),
    "sub": (_neutral(0),),
    "div": (_neutral(1),), "truediv": (_neutral(1),), "realdiv": (_neutral(1),),
    "cast": (_no_change,),
    "reshape": (_no_change, _reshape_twice),
    "broadcast_to": (_no_change,),
    "transpose": (_transpose,),
    "matmul": (_matmul_flags, _outer_product, _narrow_matrix),
    "pow": (_square,),
    "add_n": (_one_term, _grouped), "concat": (_one_term,),
}
