"""Where values come from and go to: placeholders, constants, variables, a compiled program's inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.errors import DTypeError
from graphflow.compiler.ir.convert import Literal
from graphflow.compiler.ir.dtypes import DType, as_dtype
from graphflow.compiler.ir.explain import shape_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType, as_dims
from graphflow.compiler.ir.unify import CompileRules
from graphflow.compiler.loops.expr import cast as cast_expr
from graphflow.compiler.loops.forms import pointwise, pointwise_op
from graphflow.compiler.loops.numeric import cast_array
from graphflow.compiler.ops.rules import like_first
from graphflow.compiler.ops.samples import UNARY, Sample, shapes


def _placeholder_type(op: Operation) -> TensorType:
    return TensorType(as_dtype(op.dtype), as_dims(op.shape))


placeholder = OpDef("placeholder", "", infer=_placeholder_type, attrs={"dtype": REQUIRED, "shape": None},
                    effect="input")


def _default_type(op: Operation) -> TensorType:
    declared = as_dims(op.shape)
    if not TensorShape(declared).is_compatible_with(TensorShape(op.input.type.dims)):
        raise shape_error(op,
                          f"(C1): the default's shape {op.input.shape} does not fit {TensorShape(declared)}")
    if isinstance(op.graph.rules, CompileRules):
        return op.input.type  # type: ignore[no-any-return]  # not fed: the dims left open are the default's
    return TensorType(op.input.dtype, declared)


placeholder_with_default = OpDef(
    "placeholder_with_default", "input", infer=_default_type, attrs={"shape": REQUIRED},
    expand=lambda op: op.input, grad=lambda op, g: g)


def _constant_type(op: Operation) -> TensorType:
    array = op.value.array
    return TensorType(as_dtype(array.dtype), array.shape)


constant = OpDef("constant", "", infer=_constant_type, attrs={"value": REQUIRED}, numpy=lambda value: value,
                 tf_name="Const")

identity = OpDef("identity", "input", infer=like_first(), grad=lambda op, g: g, lower=pointwise(lambda x: x),
                 numpy=lambda x: x, symbolic=True, samples=shapes(*UNARY))

stop_gradient = OpDef("stop_gradient", "input", infer=like_first(), grad=lambda op, g: None,
                      lower=pointwise(lambda x: x), numpy=lambda x: x, expand=lambda op: op.input,
                      symbolic=True,
                      samples=shapes(*UNARY, smooth=False))


def _cast_type(op: Operation) -> TensorType:
    return TensorType(op.dtype, op.x.type.dims)


cast: OpDef = OpDef(
    "cast", "x", infer=_cast_type, attrs={"dtype": REQUIRED}, numpy=cast_array, symbolic=True,
    lower=pointwise_op(lambda op, x: cast_expr(x, op.dtype)),
    grad=lambda op, g: cast(g, dtype=op.x.dtype) if op.x.dtype.is_floating and op.dtype.is_floating else None,
    samples=tuple(Sample(((3, 4),), {"dtype": as_dtype(d)}, as_dtype(s), smooth=False) for d, s in (
        ("float64", "float32"), ("int32", "float32"), ("float32", "int64"), ("bool", "float32"),
        ("float32", "bool"), ("uint8", "int32"), ("int64", "int32"), ("float32", "float64"))) + (
        Sample((np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 2.7, -2.7], np.float32),),
               {"dtype": as_dtype("int32")}, smooth=False),
        Sample(((4,),), {"dtype": as_dtype("float16")}, smooth=False),
        Sample(((4,),), {"dtype": as_dtype("bfloat16")}, smooth=False)))


def _no_output(op: Operation) -> tuple[TensorType, ...]:
    return ()


no_op = OpDef("no_op", "", infer=_no_output, effect="group", tf_name="NoOp")


# Variables. The handle names the variable; its value before the run is an input of the compiled program.

def _variable_type(op: Operation) -> TensorType:
    result: TensorType = op.variable.type
    return result


def _assigned_type(op: Operation) -> TensorType:
    declared: TensorType = op.variable.type
    value = op.value.type
    if value.dtype is not declared.dtype:
        raise DTypeError(f"{op.opdef.name}: variable {op.variable.name!r} is {declared.dtype.name}, the "
                         f"value {op.value.name} is {value.dtype.name}, in {op.name!r} made at "
                         f"{op.source[0]}:{op.source[1]}")
    if not TensorShape(declared.dims).is_compatible_with(TensorShape(value.dims)):
        raise shape_error(op, f"(C1): variable {op.variable.name!r} is {declared}, the value is {value}")
    return declared


variable = OpDef("variable", "", infer=_variable_type, attrs={"variable": REQUIRED}, effect="read",
                 tf_name="VariableV2")
read_variable = OpDef("read_variable", "", infer=_variable_type, attrs={"variable": REQUIRED}, effect="read",
                      tf_name="Identity")
_WRITE: dict[str, Any] = {"infer": _assigned_type, "effect": "write",
                          "attrs": {"variable": REQUIRED, "use_locking": False}}
# a write's `expand` is given the operation and the value before it, and returns the value after it
assign = OpDef("assign", "value", **_WRITE, expand=lambda op, before: op.value)
assign_add = OpDef("assign_add", "value", **_WRITE, expand=lambda op, before: before + op.value)
assign_sub = OpDef("assign_sub", "value", **_WRITE, expand=lambda op, before: before - op.value)


# What a compiled program takes: kind is "feed", "state" (a variable before the run), "rng" (the key)
# or "held" (what is computed once for many runs).

program_input = OpDef("input", "", infer=lambda op: op.attrs["type"],
                      attrs={"kind": REQUIRED, "label": "", "type": REQUIRED, "variable": None},
                      effect="input")


def literal(array: Any, dtype: DType | None = None) -> Tensor:
    """A constant of the default graph from a numpy array or number."""
    result: Tensor = constant(value=Literal(np.asarray(array, dtype=dtype.numpy if dtype else None)))
    return result
