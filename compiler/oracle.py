"""The oracle: a numpy interpreter of graphs. Eager mode, constant folding, the reference in every test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.errors import InvalidArgumentError, UnsupportedError
from graphflow.compiler.ir.convert import Literal
from graphflow.compiler.ir.dims import Atom, Poly, atoms_of, evaluate
from graphflow.compiler.ir.graph import Graph, Operation
from graphflow.compiler.ir.opdef import Subgraph
from graphflow.compiler.ir.registry import REGISTRY
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.ir.tensor import Tensor

Array = np.ndarray[Any, Any]
Values = dict[Tensor, Array]


def run(outputs: Sequence[Tensor], given: Mapping[Tensor, Any],
        after: Callable[[Operation, Values], None] | None = None,
        symbols: Mapping[Atom, int] | None = None) -> list[Array]:
    """The values of `outputs`, from those of `given` tensors, one operation after another.

    `after(op, values)` is called after each operation, for timing and checks. Values are dropped after their
    last use, so that the peak of memory is that of op-by-op execution. `symbols` gives the run-time dims of a
    graph inside the compiler.
    """
    values: Values = {t: np.asarray(v) for t, v in given.items()}
    order = ancestors(outputs, stop=given)
    last_use = {t: op for op in order for t in (*op.operands, *op.dim_deps)}
    keep = set(outputs) | set(given)
    for op in order:
        for t, v in zip(op.outputs, evaluate_operation(op, values, symbols), strict=True):
            values[t] = v
        if after is not None:
            after(op, values)
        for t in dict.fromkeys((*op.operands, *op.dim_deps)):
            if last_use[t] is op and t not in keep:
                values.pop(t, None)
    return [values[t] for t in outputs]


def evaluate_operation(op: Operation, values: Mapping[Tensor, Array],
                       symbols: Mapping[Atom, int] | None = None) -> list[Array]:
    """The outputs of one operation, in its dtypes."""
    operands = [values[t] for t in op.operands]
    attrs = concrete_attrs(op, values, symbols or {})
    with np.errstate(all="ignore"):
        result = apply_numpy(op, operands, attrs)
    results = result if isinstance(result, (tuple, list)) else (result,)
    return [np.asarray(r).astype(t.dtype.numpy, copy=False) for r, t in zip(results, op.outputs, strict=True)]


def apply_numpy(op: Operation, operands: Sequence[Array], attrs: Mapping[str, Any]) -> Any:
    opdef = op.opdef
    if opdef.numpy is not None:
        return opdef.numpy(*operands, **attrs)
    if opdef.expand is not None:
        return _by_expansion(op, operands, attrs)
    if opdef.effect == "input":
        raise InvalidArgumentError(None, op, f"you must feed a value for {op.name!r} ({op.out.type}), "
                                             f"made at {op.source[0]}:{op.source[1]}")
    raise UnsupportedError(f"op {opdef.name!r} has no eager form")


def _by_expansion(op: Operation, operands: Sequence[Array], attrs: Mapping[str, Any]) -> Any:
    """Run what the op is made of, in a scratch graph."""
    graph = Graph()
    with graph.as_default():
        inputs = [REGISTRY["placeholder"](dtype=t.dtype, shape=np.shape(v)) for t, v in
                  zip(op.operands, operands, strict=True)]
        inner = graph.create(op.opdef, tuple(inputs), dict(attrs))
        assert op.opdef.expand is not None
        result = op.opdef.expand(inner)
    outputs = [result] if isinstance(result, Tensor) else list(result)
    return run(outputs, dict(zip(inputs, operands, strict=True)))


def concrete_attrs(op: Operation, values: Mapping[Tensor, Array],
                   symbols: Mapping[Atom, int]) -> dict[str, Any]:
    """The attributes as numbers: Literals as arrays, and dims that refer to the run as their values."""
    attrs = {k: v.array if isinstance(v, Literal) else v for k, v in op.attrs.items()}
    for key in op.opdef.dim_attrs:
        attrs[key] = _concrete(attrs[key], values, symbols)
    for key in op.opdef.regions:
        attrs[key] = _function(op.attrs[key], symbols)
    return attrs


def _function(graph: Graph, symbols: Mapping[Atom, int]) -> Subgraph:
    """A subgraph as a function of arrays."""
    return Subgraph(lambda *arrays: run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)),
                                        symbols=symbols), tuple(t.type for t in graph.outputs))


def _concrete(value: Any, values: Mapping[Tensor, Array], symbols: Mapping[Atom, int]) -> Any:
    if isinstance(value, tuple):
        return tuple(_concrete(v, values, symbols) for v in value)
    if isinstance(value, Tensor):
        return tuple(int(v) for v in values[value].ravel())
    if isinstance(value, Poly):
        known = {a: _atom_value(a, values) for a in atoms_of(value) if a.kind in ("dim", "elem")}
        return evaluate(value, {**symbols, **known})
    return value


def _atom_value(a: Atom, values: Mapping[Tensor, Array]) -> int:
    t, k = a.payload
    return int(values[t].shape[k]) if a.kind == "dim" else int(values[t].ravel()[k])
