"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from graphflow.compiler.ir.explain import dtype_error
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.loops.forms import Contraction
from graphflow.compiler.ops.broadcasting import unbroadcast
from graphflow.compiler.ops.core import cast
from graphflow.compiler.ops.rules import same_dtype, signature
from graphflow.compiler.ops.samples import Sample, shapes


def _matmul_grad(op: Operation, g: Tensor) -> tuple[Tensor, Tensor]:
    """Each operand's gradient is a product of g and the other, in the order that needs no transposed copy."""
    a, b = (_cast(t, g.dtype) for t in op.operands)
    ta, tb = op.transpose_a, op.transpose_b
    ga = matmul(b, g, transpose_a=tb, transpose_b=True) if ta else matmul(g, b, transpose_b=not tb)
    gb = matmul(g, a, transpose_a=True, transpose_b=ta) if tb else matmul(a, g, transpose_a=not ta)
    if not a.type.rank == b.type.rank == 2:
        ga, gb = unbroadcast(ga, a), unbroadcast(gb, b)
    return _cast(ga, op.a.dtype), _cast(gb, op.b.dtype)


def _cast(t: Tensor, dtype: DType) -> Tensor:
    if t.dtype is dtype:
        return t
    result: Tensor = cast(t, dtype=dtype)
    return result


def _matmul_numpy(a: Any, b: Any, transpose_a: bool, transpose_b: bool, output_type: DType | None) -> Any:
    out = output_type or as_dtype(a.dtype)
    sums = out.sums.numpy
    product = np.matmul((np.swapaxes(a, -1, -2) if transpose_a else a).astype(sums, copy=False),
                        (np.swapaxes(b, -1, -2) if transpose_b else b).astype(sums, copy=False))
    return product.astype(out.numpy, copy=False)


def _matmul_dtype(op: Operation) -> DType:
    """That of the operands; on request that in which products of narrow operands are summed."""
    wanted, sums = op.output_type, {t.dtype.sums for t in op.operands}
    if wanted is None:
        return same_dtype(op)
    if sums != {wanted} and not _fit_into(wanted, op.operands):
        both = " by ".join(t.dtype.name for t in op.operands)
        fit = sums.pop() if len(sums) == 1 else None
        raise dtype_error(op, f"(C3): output_type cannot be {wanted.name} for a product of {both}: it is "
                              f"float32 for halves, int32 for integers of 8 or 16 bits",
                          f"output_type=tf.{fit.name}, and then tf.cast(x, tf.{wanted.name})" if fit else "")
    result: DType = wanted
    return result


def _fit_into(wanted: DType, operands: tuple[Tensor, ...]) -> bool:
    """Whether one operand has this dtype, and each element of the other is a number of it."""
    return any(t.dtype is wanted for t in operands) and all(t.dtype.fits_into(wanted) for t in operands)


matmul = OpDef(
    "matmul", "a b", infer=signature("... m k, ... k n -> ... m n", dtype_of=_matmul_dtype),
    grad=_matmul_grad, lower=Contraction(), numpy=_matmul_numpy, tf_name="MatMul",
    attrs={"transpose_a": False, "transpose_b": False, "output_type": None},
    samples=(*shapes([(2, 3), (3, 4)], [(0, 3), (3, 4)], [(2, 0), (0, 4)], [(1, 1), (1, 1)],
                     [(5, 1, 2, 3), (4, 3, 2)],
                     [(2, 3, 4), (4, 5)], [(17, 33), (33, 19)]),
             *shapes([(3, 2), (3, 4)], [(2, 3, 2), (3, 4)], transpose_a=True),
             *shapes([(2, 3), (4, 3)], [(3, 2, 3), (3, 4, 3)], transpose_b=True),
             *shapes([(3, 2), (4, 3)], [(2, 3, 2), (2, 4, 3)], transpose_a=True, transpose_b=True),
             *shapes([(17, 35), (35, 19)], [(2, 3, 4), (2, 4, 5)], dtype=bfloat16, smooth=False),
             *shapes([(17, 35), (35, 19)], [(1, 40), (40, 3)], dtype=float16, smooth=False),
             *shapes([(17, 35), (35, 19)], dtype=bfloat16, smooth=False, output_type=float32),
             *shapes([(17, 35), (35, 19)], dtype=int8, low=-128, high=127, smooth=False, output_type=int32),
             *(Sample(((2, 3), (3, 2)), dtype=d, smooth=False) for d in (int8, uint8, int16, int32, int64)),
             Sample(((3, 3), (3, 3)), dtype=float64)))
