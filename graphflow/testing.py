"""Checks of an op record against its own samples; `check_op` also serves for ops of your own.

    from graphflow.testing import check_op
    check_op(my_op)

Each sample is checked for value, type, unknown dims, lowering and gradients of first and second order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import graphflow.compiler.ops.catalog  # noqa: F401
from graphflow.compiler import oracle
from graphflow.compiler.autodiff import gradients
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.dims import Atom, Dim, evaluate, single_atom, sym
from graphflow.compiler.ir.dtypes import DType, as_dtype, float64
from graphflow.compiler.ir.graph import Graph
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.ir.unify import CompileRules
from graphflow.compiler.loops.interpret import run_form
from graphflow.compiler.ops.core import placeholder, program_input
from graphflow.compiler.ops.elementwise import mul
from graphflow.compiler.ops.reductions import reduce_sum
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.passes.expand import expand

Array = np.ndarray[Any, Any]
Case = tuple[OpDef, Sample]
RELATIVE = {"float64": 1e-9, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
_STEP = 1e-6


def check_op(opdef: OpDef, compiled: bool | None = None) -> None:
    """Every check on every sample of a record; `compiled` runs them in a Session too (by default where it can).

    Raises: AssertionError that names the op, the sample and the values
    """
    assert opdef.samples, f"{opdef.name} has no samples"
    for sample in opdef.samples:
        for check in (check_value, check_unknown_dims, check_lowering, check_gradients):
            check(opdef, sample)
    if compiled or (compiled is None and opdef.numpy is not None) or opdef.expand is not None:
        check_compiled([(opdef, s) for s in opdef.samples])


def label(opdef: OpDef, sample: Sample) -> str:
    """One line that names a sample."""
    operands = [a if isinstance(a, tuple) else np.asarray(a).tolist() for a in sample.operands]
    attrs = "".join(f", {k}={v}" for k, v in sample.attrs.items())
    return f"{opdef.name}({', '.join(map(str, operands))}{attrs}) {sample.dtype.name if operands else ''}".rstrip()


def assert_close(actual: Any, expected: Any, what: str, slack: float = 1.0) -> None:
    """Equal dtypes and shapes; ints and bools equal, floats near relative to the largest finite value."""
    a, e = np.asarray(actual), np.asarray(expected)
    assert a.dtype == e.dtype, f"{what}: dtype {a.dtype}, not {e.dtype}"
    assert a.shape == e.shape, f"{what}: shape {a.shape}, not {e.shape}"
    dtype = as_dtype(a.dtype)
    if not dtype.is_floating:
        assert np.array_equal(a, e), f"{what}:\n{a}\nis not\n{e}"
        return
    a, e = a.astype(np.float64), e.astype(np.float64)
    finite = np.abs(e[np.isfinite(e)])
    tolerance = slack * RELATIVE[dtype.name]
    near = np.isclose(a, e, rtol=tolerance, atol=tolerance * min(float(finite.max(initial=0.0)), 1.0),
                      equal_nan=True)
    assert near.all(), f"{what}: {np.count_nonzero(~near)} of {near.size} differ, first {a[~near][0]}, not {e[~near][0]}"


# Value and type

def build(opdef: OpDef, sample: Sample, arrays: Sequence[Array],
          unknown: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Placeholders for the operands (with unknown dims, if wanted) and the outputs, in the default graph."""
    inputs = [placeholder(dtype=as_dtype(a.dtype),
                          shape=[None] * a.ndim if unknown else a.shape) for a in arrays]
    result = opdef(*inputs, **sample.attrs)
    return inputs, [result] if isinstance(result, Tensor) else list(result)


def _reference(opdef: OpDef, sample: Sample, dtype: DType | None = None) -> tuple[list[Array], list[Array]]:
    arrays = sample.arrays(dtype)
    with Graph().as_default():
        inputs, outputs = build(opdef, sample, arrays)
        return arrays, oracle.run(outputs, dict(zip(inputs, arrays, strict=True)))


def check_value(opdef: OpDef, sample: Sample) -> None:
    """The inferred types are those of the values, and a composite's parts give what its `numpy` gives."""
    arrays, what = sample.arrays(), label(opdef, sample)
    with Graph().as_default():
        inputs, outputs = build(opdef, sample, arrays)
        values = oracle.run(outputs, dict(zip(inputs, arrays, strict=True)))
        if opdef.numpy is not None:
            with np.errstate(all="ignore"):
                raw = oracle.apply_numpy(outputs[0].op, arrays, outputs[0].op.attrs) if outputs else ()
            for v, r in zip(values, raw if isinstance(raw, (tuple, list)) else (raw,), strict=True):
                assert np.shape(r) == v.shape, f"{what}: numpy gives shape {np.shape(r)}"
    for t, v in zip(outputs, values, strict=True):
        assert t.type.dims == v.shape, f"{what}: inferred {t.type}, but the value has shape {v.shape}"
        assert t.dtype.numpy == v.dtype, f"{what}: inferred {t.type}, but the value is {v.dtype}"


def check_unknown_dims(opdef: OpDef, sample: Sample) -> None:
    """Placeholders without known dims give the same values; a record may refuse them, naming what is unknown."""
    arrays, expected = _reference(opdef, sample)
    with Graph().as_default():
        try:
            inputs, outputs = build(opdef, sample, arrays, unknown=True)
        except ShapeError as e:
            assert "unknown" in str(e), f"{label(opdef, sample)} with unknown dims: {e}"
            return
        values = oracle.run(outputs, dict(zip(inputs, arrays, strict=True)))
    for t, v, e in zip(outputs, values, expected, strict=True):
        assert_close(v, e, f"{label(opdef, sample)} with unknown dims")
        for known, d in zip(t.type.dims or (), v.shape, strict=t.type.dims is not None):
            assert known in (None,
                             d), f"{label(opdef, sample)}: inferred {t.type}, but the value has shape {v.shape}"


# Lowering

def check_lowering(opdef: OpDef, sample: Sample) -> None:
    """The scalar expressions that a record lowers to give its value, with known dims and with symbols for dims."""
    arrays, expected = _reference(opdef, sample)
    for symbolic in (False, True):
        what = f"{label(opdef, sample)} lowered{' with symbols for dims' if symbolic else ''}"
        try:
            values = lowered(opdef, sample, arrays, symbolic)
        except ShapeError as e:
            assert symbolic and "unknown" in str(e), f"{what}: {e}"
            continue
        for v, e in zip(values, expected, strict=True):
            assert_close(v, e, what)


def lowered(opdef: OpDef, sample: Sample, arrays: Sequence[Array], symbolic: bool = False) -> list[Array]:
    """The value of an op by expansion and `lower`, as the compiler would have it; equal dims share a symbol."""
    names: dict[Atom, int] = {}
    graph = Graph(CompileRules())
    with graph.as_default():
        graph.inputs = [program_input(kind="feed", type=TensorType(as_dtype(a.dtype), tuple(
            _symbol(d, names) if symbolic else d for d in a.shape))) for a in arrays]
        result = opdef(*graph.inputs, **sample.attrs)
    graph.outputs = [result] if isinstance(result, Tensor) else list(result)
    graph = expand(graph)
    return interpret(graph, dict(zip(graph.inputs, arrays, strict=True)), names)


def _symbol(size: int, names: dict[Atom, int]) -> Dim:
    """A symbol for a dim above 1: those of 0 and 1 are always known to a compiled program."""
    if size <= 1:
        return size
    dim = sym(f"n{size}")
    found = single_atom(dim)
    assert found is not None
    names[found] = size
    return dim


def interpret(graph: Graph, given: Mapping[Tensor, Array], dims: Mapping[Atom, int]) -> list[Array]:
    """The outputs of an expanded graph, each op by its `lower` form in plain numpy."""
    values = dict(given)
    for op in graph.operations:
        if op.out in values:
            continue
        arrays = [values[t] for t in op.operands]
        if op.opdef.lower is None:
            assert not op.operands, f"{op.opdef.name} has neither lower nor expand"
            values[op.out] = oracle.evaluate_operation(op, {})[0]
            continue
        values[op.out] = run_form(op, arrays, dims)
        shape = tuple(evaluate(d, dims) for d in op.out.type.known_dims)
        assert values[op.out].shape == shape, f"{op.opdef.name}: {values[op.out].shape} is not {shape}"
    return [values[t] for t in graph.outputs]


# Gradients

def check_gradients(opdef: OpDef, sample: Sample) -> None:
    """First and second order against central differences along one random direction, in float64.

    Formula:  sum(gx * d) = (f(x + eps*d) - f(x - eps*d)) / (2*eps), with f = sum(w * y) for random w
    """
    arrays = sample.arrays(float64)
    if not sample.smooth or opdef.grad is None or not any(a.dtype == np.float64 for a in arrays):
        return
    expected: list[Array] = []
    for unknown in (False, True):
        try:
            expected = _check_gradients(opdef, sample, arrays, unknown, expected)
        except ShapeError as e:
            assert unknown and "unknown" in str(e), f"{label(opdef, sample)}: {e}"


def _check_gradients(opdef: OpDef, sample: Sample, arrays: list[Array], unknown: bool,
                     known: Sequence[Array]) -> list[Array]:
    rng, what = np.random.default_rng(3), label(opdef, sample)
    directions = [rng.normal(size=a.shape) if a.dtype == np.float64 else None for a in arrays]
    with Graph().as_default():
        inputs, outputs = build(opdef, sample, arrays, unknown)
        floats = [t for t in inputs if t.dtype is float64]
        _, values = _reference(opdef, sample, float64)
        if not any(t.dtype is float64 for t in outputs):
            return []
        first = _weighted(outputs, values, rng)
        slopes = gradients([first], floats)
        given = [s for s in slopes if s is not None]
        second = _weighted(given, [a for a,
                                   s in zip([a for a in arrays if a.dtype == np.float64], slopes, strict=True)
                                   if s is not None], rng) if given else None
        curves = gradients([second], floats) if second is not None else []
        numbers = _differences(inputs, arrays, directions, [first] + ([second] if second is not None else []))
        wanted = [t for t in (*slopes, *curves) if t is not None]
        found = dict(zip(wanted, oracle.run(wanted, dict(zip(inputs, arrays, strict=True))), strict=True))
    for order, row, number in zip(("first", "second"), (slopes, curves), numbers, strict=False):
        along = [d for d in directions if d is not None]
        total = sum(float(np.sum(found[s] * d)) for s, d in zip(row, along, strict=True) if s is not None)
        scale = 1 + max((float(np.abs(found[s]).sum()) for s in row if s is not None), default=0.0)
        assert abs(total - number) < 2e-6 * scale, f"{what}: {order} gradient {total}, by differences {number}"
    result = [found[t] for t in wanted]
    for a, e in zip(result, known, strict=False):
        assert_close(a, e, f"{what}: gradient with unknown dims")
    return result


def _weighted(ys: Sequence[Tensor], values: Sequence[Array], rng: np.random.Generator) -> Tensor:
    """sum(w * y) with random weights, over the float outputs."""
    total: Any = None
    for y, v in zip(ys, values, strict=True):
        if y.dtype is float64:
            part = reduce_sum(mul(y, rng.normal(size=v.shape)))
            total = part if total is None else total + part
    result: Tensor = total
    return result


def _differences(inputs: Sequence[Tensor], arrays: Sequence[Array], directions: Sequence[Array | None],
                 ys: Sequence[Tensor]) -> list[float]:
    def at(sign: float) -> list[Array]:
        return oracle.run(ys, {t: a if d is None else a + sign * _STEP * d
                               for t, a, d in zip(inputs, arrays, directions, strict=True)})

    return [float(a - b) / (2 * _STEP) for a, b in zip(at(1.0), at(-1.0), strict=True)]


# The compiled program

def check_compiled(cases: Iterable[Case], unknown: bool = False) -> None:
    """All samples in one graph and one run of a Session, against the oracle."""
    from graphflow.session import Session

    graph, feeds, rows = Graph(), {}, []
    with graph.as_default():
        for opdef, sample in cases:
            arrays, expected = _reference(opdef, sample)
            try:
                inputs, outputs = build(opdef, sample, arrays, unknown)
            except ShapeError:
                assert unknown, label(opdef, sample)
                continue
            feeds.update(zip(inputs, arrays, strict=True))
            rows.append((opdef, sample, outputs, expected))
        with Session(graph=graph) as session:
            values = session.run([outputs for _, _, outputs, _ in rows], feeds)
    for (opdef, sample, _, expected), found in zip(rows, values, strict=True):
        for v, e in zip(found, expected, strict=True):
            assert_close(v, e, f"{label(opdef, sample)} compiled", slack=4.0)
