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
from graphflow.compiler.ops.elementwise import add_n, mul
from graphflow.compiler.ops.reductions import reduce_sum
from graphflow.compiler.ops.samples import Sample
from graphflow.compiler.passes.expand import expand_late
from graphflow.compiler.records import record

Array = np.ndarray[Any, Any]
Case = tuple[OpDef, Sample]
Row = tuple[str, list[Tensor], list[Array], dict[Tensor, Array]]  # label, outputs, their values, feeds
RELATIVE = {"float64": 1e-9, "float32": 2e-5, "float16": 4e-3, "bfloat16": 3e-2}
_STEP = 1e-6


def check_op(opdef: OpDef, compiled: bool = True) -> None:
    """Every check on every sample of a record, the compiled program included.

    Raises: AssertionError that names the op, the sample and the values
    """
    assert opdef.samples, f"{opdef.name} has no samples"
    for sample in opdef.samples:
        for check in (check_value, check_unknown_dims, check_lowering, check_gradients):
            check(opdef, sample)
    if compiled:
        check_compiled([(opdef, s) for s in opdef.samples])


def label(opdef: OpDef, sample: Sample) -> str:
    """One line that names a sample."""
    operands = [a if isinstance(a, tuple) else np.asarray(a).tolist() for a in sample.operands]
    attrs = "".join(f", {k}={v}" for k, v in sample.attrs.items())
    return f"{sample.dtype.name} {opdef.name}({', '.join(map(str, operands))}{attrs})"


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
    assert near.all(), (f"{what}: {np.count_nonzero(~near)} of {near.size} differ, first {a[~near][0]}, "
                        f"not {e[~near][0]}")


# Value and type

def build(opdef: OpDef, sample: Sample, arrays: Sequence[Array],
          unknown: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Placeholders for the operands, of unknown dims if wanted, and the outputs, in the default graph."""
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
    for t, v in zip(outputs, values, strict=True):
        assert t.type.dims == v.shape, f"{what}: inferred {t.type}, but the value has shape {v.shape}"
        assert t.dtype.numpy == v.dtype, f"{what}: inferred {t.type}, but the value is {v.dtype}"


def check_unknown_dims(opdef: OpDef, sample: Sample) -> None:
    """Placeholders without known dims give the same values; a record may refuse, saying what is unknown."""
    arrays, expected = _reference(opdef, sample)
    what = f"{label(opdef, sample)} with unknown dims"
    with Graph().as_default():
        try:
            inputs, outputs = build(opdef, sample, arrays, unknown=True)
        except ShapeError as error:
            assert "unknown" in str(error), f"{what}: {error}"
            return
        values = oracle.run(outputs, dict(zip(inputs, arrays, strict=True)))
    for t, v, e in zip(outputs, values, expected, strict=True):
        assert_close(v, e, what)
        assert t.shape.is_compatible_with(v.shape), f"{what}: inferred {t.type}, but the shape is {v.shape}"


# Lowering

def check_lowering(opdef: OpDef, sample: Sample) -> None:
    """The expressions that a record lowers to give its value, with known dims and with symbols for them."""
    arrays, expected = _reference(opdef, sample)
    for symbolic in (False, True):
        what = f"{label(opdef, sample)} lowered{' with symbols for dims' if symbolic else ''}"
        try:
            values = lowered(opdef, sample, arrays, symbolic)
        except ShapeError as error:
            assert symbolic and "unknown" in str(error), f"{what}: {error}"
            continue
        for v, e in zip(values, expected, strict=True):
            assert_close(v, e, what)


def lowered(opdef: OpDef, sample: Sample, arrays: Sequence[Array], symbolic: bool = False) -> list[Array]:
    """The value of an op by expansion and `lower`, as the compiler has it; equal dims share a symbol."""
    names: dict[Atom, int] = {}
    graph = Graph(CompileRules())
    with graph.as_default():
        graph.inputs = [program_input(kind="feed", type=TensorType(as_dtype(a.dtype), tuple(
            _symbol(d, names) if symbolic else d for d in a.shape))) for a in arrays]
        result = opdef(*graph.inputs, **sample.attrs)
    graph.outputs = [result] if isinstance(result, Tensor) else list(result)
    graph = expand_late(graph)
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

@record
class _Slopes:
    """A sample with two sums and their gradients: over the outputs, then over the gradients of that.

    rows[k] holds the gradient of sums[k] for each float input, None where there is none.
    """

    inputs: list[Tensor]
    floats: list[Tensor]
    sums: list[Tensor]
    rows: list[list[Tensor | None]]

    @property
    def found(self) -> list[Tensor]:
        return [t for row in self.rows for t in row if t is not None]


def check_gradients(opdef: OpDef, sample: Sample) -> None:
    """First and second order against central differences along a random direction, in float64.

    Formula:  sum(gx * d) = (f(x + eps*d) - f(x - eps*d)) / (2*eps), with f = sum(w * y) for random w
    """
    arrays, what = sample.arrays(float64), label(opdef, sample)
    if not has_gradient(opdef, sample):
        return
    with Graph().as_default():
        slopes = _slopes(opdef, sample, arrays)
        found = oracle.run(slopes.found, dict(zip(slopes.inputs, arrays, strict=True)))
    _check_differences(slopes, arrays, dict(zip(slopes.found, found, strict=True)), what)
    with Graph().as_default():
        try:
            slopes = _slopes(opdef, sample, arrays, unknown=True)
        except ShapeError as error:
            assert "unknown" in str(error), f"{what}: {error}"
            return
        again = oracle.run(slopes.found, dict(zip(slopes.inputs, arrays, strict=True)))
    for a, e in zip(again, found, strict=True):
        assert_close(a, e, f"{what}: gradient with unknown dims")


def has_gradient(opdef: OpDef, sample: Sample) -> bool:
    """Whether a sample takes part in gradient checks."""
    return sample.smooth and opdef.grad is not None and any(a.dtype == np.float64
                                                            for a in sample.arrays(float64))


def _slopes(opdef: OpDef, sample: Sample, arrays: Sequence[Array], unknown: bool = False) -> _Slopes:
    rng = np.random.default_rng(3)
    inputs, outputs = build(opdef, sample, arrays, unknown)
    floats = [t for t in inputs if t.dtype is float64]
    shapes = [v.shape for v in _reference(opdef, sample, float64)[1]]
    result = _Slopes(inputs, floats, [], [])
    pairs = [(t, s) for t, s in zip(outputs, shapes, strict=True) if t.dtype is float64]
    for _ in range(2):
        if not pairs:
            break
        total = add_n(*(reduce_sum(mul(t, rng.normal(size=s))) for t, s in pairs))
        row = gradients([total], floats)
        result.sums.append(total)
        result.rows.append(row)
        sizes = [a.shape for a in arrays if a.dtype == np.float64]
        pairs = [(g, s) for g, s in zip(row, sizes, strict=True) if g is not None]
    return result


def _check_differences(slopes: _Slopes, arrays: Sequence[Array], found: Mapping[Tensor, Array],
                       what: str) -> None:
    rng = np.random.default_rng(5)
    given = dict(zip(slopes.inputs, arrays, strict=True))
    directions = {t: rng.normal(size=given[t].shape) for t in slopes.floats}

    def values(sign: float) -> list[Array]:
        return oracle.run(slopes.sums,
                          given | {t: given[t] + sign * _STEP * d for t, d in directions.items()})

    for order, row, above, below in zip(("first", "second"), slopes.rows, values(1.0), values(-1.0),
                                        strict=False):
        parts = [(found[g], directions[t]) for t, g in zip(slopes.floats, row, strict=True) if g is not None]
        slope, number = sum(float(np.sum(g * d)) for g, d in parts), float(above - below) / (2 * _STEP)
        scale = 1 + max((float(np.abs(g).sum()) for g, _ in parts), default=0.0)
        assert abs(slope - number) < 2e-6 * scale, f"{what}: {order} gradient {slope}, not {number}"


# The compiled program

def check_compiled(cases: Iterable[Case], unknown: bool = False) -> None:
    """All samples in one graph and one run of a Session, against the oracle."""
    rows = []
    with Graph().as_default() as graph:
        for opdef, sample in cases:
            arrays, expected = _reference(opdef, sample)
            try:
                inputs, outputs = build(opdef, sample, arrays, unknown)
            except ShapeError as error:
                assert unknown and "unknown" in str(error), f"{label(opdef, sample)}: {error}"
                continue
            rows.append((label(opdef, sample), outputs, expected, dict(zip(inputs, arrays, strict=True))))
    _compare_run(graph, rows)


def check_compiled_gradients(cases: Iterable[Case], unknown: bool = False) -> None:
    """First and second gradients of all samples in one graph and one run of a Session, against the oracle."""
    rows = []
    with Graph().as_default() as graph:
        for opdef, sample in cases:
            if not has_gradient(opdef, sample):
                continue
            arrays = sample.arrays(float64)
            try:
                slopes = _slopes(opdef, sample, arrays, unknown)
            except ShapeError as error:
                assert unknown and "unknown" in str(error), f"{label(opdef, sample)}: {error}"
                continue
            feeds = dict(zip(slopes.inputs, arrays, strict=True))
            expected = oracle.run(slopes.found, feeds)
            rows.append((f"gradient of {label(opdef, sample)}", slopes.found, expected, feeds))
    _compare_run(graph, rows)


def _compare_run(graph: Graph, rows: Sequence[Row]) -> None:
    from graphflow.session import Session

    feeds = {t: v for row in rows for t, v in row[3].items()}
    with Session(graph=graph) as session:
        values = session.run([outputs for _, outputs, _, _ in rows], feeds)
    for (what, _, expected, _), found in zip(rows, values, strict=True):
        for v, e in zip(found, expected, strict=True):
            assert_close(v, e, f"{what} compiled", slack=4.0)
