"""Scalar expressions in plain numpy: the check of every record's `lower`, and what GRAPHFLOW_JIT=0 runs.

Loop indices, run-time dims and temps may be arrays that broadcast together, so that one call evaluates an
expression for a whole loop nest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphflow.compiler.errors import InvalidArgumentError
from graphflow.compiler.ir.dims import Atom, Dim, axis, single_atom, terms_of
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import (
    Banded,
    BlockSum,
    Contraction,
    Form,
    Join,
    Piece,
    Reduction,
    Scatter,
    Serial,
)
from graphflow.compiler.loops.nest import Product, Stmt, Store
from graphflow.compiler.loops.numeric import cast_array
from graphflow.compiler.loops.view import Side
from graphflow.compiler.records import record

Array = np.ndarray[Any, Any]
_COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
            "and": np.logical_and, "or": np.logical_or}
_ON_DIMS = {"floordiv": np.floor_divide, "mod": np.mod, "min": np.minimum, "max": np.maximum}


@record
class Fault:
    """What a check found: an index out of range of the extent, or, if that is -1, just that it failed."""

    where: str
    index: int
    extent: int

    def __str__(self) -> str:
        if self.extent < 0:
            return self.where
        return f"{self.where}: index {self.index} is not in [0, {self.extent})"


@dataclass
class Env:
    """What an expression refers to.

    buffers  flat arrays by name
    atoms    values of loop indices and run-time dims: ints or arrays
    temps    values named by Let
    faults   the indices found out of range, in the order found
    """

    buffers: dict[str, Array] = field(default_factory=dict)
    atoms: dict[Atom, Any] = field(default_factory=dict)
    temps: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def evaluate_dim(dim: Dim, env: Env) -> Any:
    """The number, or array of numbers, that a dim stands for."""
    total: Any = 0
    for mono, coef in terms_of(dim):
        product: Any = coef
        for a in mono:
            product = product * _atom_value(a, env)
        total = total + product
    return total


def _atom_value(a: Atom, env: Env) -> Any:
    if a.kind == "value":
        return env.temps[a.name]
    if a.kind in _ON_DIMS and a not in env.atoms:
        x, y = (evaluate_dim(p, env) for p in a.payload)
        return _ON_DIMS[a.kind](x, y)
    return 0 if a.kind == "part" else env.atoms[a]  # there is one part


def evaluate(root: E.Expr, env: Env) -> Any:
    """The value of an expression, each node once."""
    values: dict[E.Expr, Any] = {}
    with np.errstate(all="ignore"):
        for node in E.walk(root):
            values[node] = _node_value(node, [values[a] for a in node.args], env)
    return values[root]


def _node_value(node: E.Expr, args: list[Any], env: Env) -> Any:
    if node.op == "const":
        return node.attr.value
    if node.op == "index":
        return np.asarray(evaluate_dim(node.attr, env), np.int64)
    if node.op == "temp":
        return env.temps[node.attr]
    if node.op == "load":
        return _load(node, args, env)
    if node.op == "checked_index":
        return _checked(node, args[0], env)
    if node.op == "checked":
        if not np.all(args[1]):
            env.faults.append(Fault(node.attr, 0, -1))
        return args[0]
    if node.op == "cast":
        return cast_array(args[0], node.dtype)
    if node.op == "bitcast":
        return np.asarray(args[0]).view(node.dtype.numpy)
    if node.op == "lookup":
        table = node.attr.value
        return table[np.asarray(args[0]) & (table.size - 1)]
    return np.asarray(E.SCALAR[node.op].numpy(*map(np.asarray, args))).astype(node.dtype.numpy, copy=False)


def _load(node: E.Expr, args: list[Any], env: Env) -> Any:
    name, offset = node.attr
    buffer, at = env.buffers[name], np.asarray(evaluate_dim(offset, env))
    if not args:
        _assert_inside(at, buffer, node)
        return buffer[at]
    mask, at = np.broadcast_arrays(args[0], at)
    _assert_inside(at[mask], buffer, node)
    if not mask.any():
        return np.zeros(mask.shape, buffer.dtype)
    return np.where(mask, buffer[np.where(mask, at, 0)], buffer.dtype.type(0))


def _assert_inside(at: Any, buffer: Array, node: E.Expr) -> None:
    flat = np.ravel(at)
    outside = flat[(flat < 0) | (flat >= buffer.size)]
    assert outside.size == 0, f"{node} reads element {outside[0]} of {buffer.size}"


def _checked(node: E.Expr, value: Any, env: Env) -> Any:
    extent, where = node.attr
    size = evaluate_dim(extent, env)
    outside = (value < 0) | (value >= size)
    if np.any(outside):
        found = np.ravel(np.broadcast_to(value, np.shape(outside))[outside])[0]
        env.faults.append(Fault(where, int(found), int(size)))
    return np.where(outside, 0, value)


# Whole operations, from their record's form

def run_form(op: Operation, arrays: Sequence[Array], dims: Mapping[Atom, int] | None = None) -> Array:
    """The result of an operation by its record's `lower`; `dims` gives the run-time dims in its types.

    Raises: InvalidArgumentError for an index out of range
    """
    form: Form = op.opdef.lower
    env = Env({f"a{k}": np.ravel(a) for k, a in enumerate(arrays)}, dict(dims or {}))
    runs: dict[Any, Any] = {Reduction: _run_reduction, Contraction: _run_contraction, Scatter: _run_scatter,
                            BlockSum: _run_block_sum, Join: _run_join, Serial: _run_serial,
                            Banded: _run_serial}
    result: Array = runs.get(type(form), _run_map)(op, form, arrays, env)
    if env.faults:
        raise InvalidArgumentError(None, op, str(env.faults[0]))
    if form.alias:
        assert np.array_equal(np.ravel(arrays[0]), np.ravel(result), equal_nan=result.dtype.kind == "f"), \
            f"{op.opdef.name} says that it is an alias but moves elements"
    return result


class _Operands:
    """`load` and `let` for one operation whose operands are buffers a0, a1, ..."""

    def __init__(self, op: Operation, env: Env) -> None:
        self.op = op
        self.env = env

    def load(self, k: int, index: E.Index, mask: E.Expr | None = None) -> E.Expr:
        t = self.op.operands[k].type
        assert len(index) == len(t.known_dims), f"index {index} of {t} in {self.op.opdef.name}"
        return E.load(f"a{k}", linear(index, t.known_dims), t.dtype, mask)

    def let(self, value: E.Expr) -> E.Expr:
        name = f"t{len(self.env.temps)}"
        self.env.temps[name] = evaluate(value, self.env)
        return E.temp(name, value.dtype)


def linear(index: E.Index, dims: Sequence[Dim]) -> Dim:
    """The offset of an element in a row-major buffer."""
    offset: Dim = 0
    for i, d in zip(index, dims, strict=True):
        offset = offset * d + i
    return offset


def _axes(prefix: str, dims: Sequence[Dim], env: Env, before: int = 0, after: int = 0) -> E.Index:
    """Loop indices over dims; their values are arrays laid out so that all of them broadcast together."""
    index = tuple(axis(f"{prefix}{k}", d) for k, d in enumerate(dims))
    rank = before + len(dims) + after
    for k, (i, d) in enumerate(zip(index, dims, strict=True)):
        found = single_atom(i)
        assert found is not None
        shape = [1] * rank
        shape[before + k] = -1
        env.atoms[found] = np.arange(evaluate_dim(d, env)).reshape(shape)
    return index


def _sizes(type: TensorType, env: Env) -> tuple[int, ...]:
    return tuple(int(evaluate_dim(d, env)) for d in type.known_dims)


def _run_map(op: Operation, form: Form, arrays: Sequence[Array], env: Env) -> Array:
    at, operands = _axes("i", op.out.type.known_dims, env), _Operands(op, env)
    shape = _sizes(op.out.type, env)
    if 0 in shape:
        return np.zeros(shape, op.out.dtype.numpy)
    value = form.value(op, at, operands.load, operands.let)
    assert value.dtype is op.out.dtype, f"{op.opdef.name} lowers to {value.dtype}, not {op.out.dtype}"
    return _filled(value, shape, op.out.dtype, env)


def _filled(value: E.Expr, shape: tuple[int, ...], dtype: DType, env: Env) -> Array:
    return np.broadcast_to(np.asarray(evaluate(value, env)), shape).astype(dtype.numpy)


def _run_reduction(op: Operation, form: Reduction, arrays: Sequence[Array], env: Env) -> Array:
    axes, source = form.axes(op), op.operands[0].type.known_dims
    out = op.out.type.known_dims
    at = _axes("i", out, env, after=len(axes))
    inner = _axes("j", [source[k] for k in axes], env, before=len(out))
    value = _Operands(op, env).load(0, form.source_index(op, at, inner))
    shape = (*_sizes(op.out.type, env), *(int(evaluate_dim(source[k], env)) for k in axes))
    loaded = _filled(value, shape, op.operands[0].dtype, env)
    over = tuple(range(len(out), len(shape)))
    dtype = op.out.dtype
    empty = {"max": dtype.min, "min": dtype.max}.get(form.combine)
    if dtype.is_floating and empty is not None:
        empty = -np.inf if form.combine == "max" else np.inf
    with np.errstate(all="ignore"):
        result = _COMBINE[form.combine].reduce(loaded, axis=over,
                                               **({} if empty is None else {"initial": empty}))
    return np.asarray(result).astype(dtype.numpy)


def _run_contraction(op: Operation, form: Contraction, arrays: Sequence[Array], env: Env) -> Array:
    a, b = arrays
    if form.sides is not None:
        rows, along = (_offsets(side, env) for side in form.sides(op))
        count = form.groups(op)
        first = _offsets(((count, form.shift(op) if form.shift else 0),), env)
        left = a.ravel()[first[:, None, None] + rows[:, None] + along]
        sums = left @ b.reshape(count, len(along), b.shape[-1])
        result = np.swapaxes(sums, 0, 1).reshape(_sizes(op.out.type, env))
        return np.asarray(result, op.out.dtype.numpy)
    a = np.swapaxes(a, -1, -2) if op.attrs.get("transpose_a") else a
    b = np.swapaxes(b, -1, -2) if op.attrs.get("transpose_b") else b
    with np.errstate(all="ignore"):
        sums, out = op.out.dtype.sums.numpy, op.out.dtype.numpy
        return np.asarray(np.matmul(a.astype(sums), b.astype(sums)), out)


def _offsets(side: Side, env: Env) -> Array:
    """Of each position along a side."""
    total: Any = np.zeros(1, np.int64)
    for extent, pitch in side:
        total = (total[:, None] + np.arange(evaluate_dim(extent, env)) * evaluate_dim(pitch, env)).ravel()
    return np.asarray(total)


def _run_block_sum(op: Operation, form: BlockSum, arrays: Sequence[Array], env: Env) -> Array:
    at = _axes("i", op.input.type.known_dims, env)
    values = np.asarray(evaluate(form.value(op, at, _Operands(op, env).load, lambda v: v), env))
    result = np.zeros(_sizes(op.out.type, env), op.out.dtype.numpy)
    first = np.reshape(np.arange(len(values)) // op.length, (-1,) + (1,) * (values.ndim - 1))
    kept = tuple(np.broadcast_to(evaluate_dim(i, env), values.shape) for i in at[op.leading:])
    np.add.at(result, (np.broadcast_to(first, values.shape), *kept), values)
    return result


def _run_scatter(op: Operation, form: Scatter, arrays: Sequence[Array], env: Env) -> Array:
    at, operands = _axes("i", op.operands[0].type.known_dims, env), _Operands(op, env)
    target = form.target(op, at, operands.load, operands.let)
    start = None if form.base is None else arrays[form.base]
    result = np.zeros(_sizes(op.out.type, env), op.out.dtype.numpy) if start is None else start.copy()
    index = tuple(np.broadcast_to(evaluate_dim(i, env), np.shape(arrays[0])) for i in target)
    np.add.at(result, index, arrays[0])
    return result


def _run_join(op: Operation, form: Join, arrays: Sequence[Array], env: Env) -> Array:
    result = np.zeros(_sizes(op.out.type, env), op.out.dtype.numpy)
    for t, part, array in zip(op.operands, form.parts(op), arrays, strict=True):
        at = part.index(_axes("i", t.type.known_dims, env))
        result[tuple(np.broadcast_to(evaluate_dim(i, env), array.shape) for i in at)] = array
    return result


def _run_serial(op: Operation, form: Serial, arrays: Sequence[Array], env: Env) -> Array:
    from graphflow.compiler.loops.interpret_nest import run_body

    result = np.zeros(_sizes(op.out.type, env), op.out.dtype.numpy)
    env.buffers["out"] = np.ravel(result)
    run_body(tuple(form.steps(op, _Workspace(op, env))), env)
    return result


class _Workspace(_Operands):
    """The memory of a record's own kernel."""

    cache = 1 << 16

    def store(self, index: E.Index, value: E.Expr) -> Stmt:
        return Store("out", linear(index, self.op.out.type.known_dims), value)

    def result(self, index: E.Index) -> E.Expr:
        return E.load("out", linear(index, self.op.out.type.known_dims), self.op.out.dtype)

    def scratch(self, dtype: DType, size: Dim) -> str:
        name = f"scratch{len(self.env.buffers)}"
        self.env.buffers[name] = np.empty(evaluate_dim(size, self.env), dtype.numpy)
        return name

    def room(self, dtype: DType, size: Dim) -> Piece:
        return self.scratch(dtype, size), 0

    def operand(self, k: int) -> str:
        return f"a{k}"

    def result_buffer(self) -> str:
        return "out"

    def product(self, out: Piece, a: Piece, b: Piece, sizes: tuple[Dim, Dim, Dim],
                transpose_a: bool = False, add: bool = False) -> Stmt:
        return Product(out[0], a[0], b[0], out[1], a[1], b[1], *sizes, transpose_a, False, self.op.out.dtype,
                       add=add)

    def give(self, index: E.Index, value: E.Expr) -> list[Stmt]:
        return [self.store(index, value)]
