"""Sums over blocks of rows: what the compiler makes of sums over leading axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.ir.graph import Operation
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.forms import BlockSum
from graphflow.compiler.ops.samples import shapes


def block_count(rows: Dim, length: int) -> Dim:
    return (rows + (length - 1)) // length


def _infer(op: Operation) -> TensorType:
    dims = op.input.type.dims
    if dims is None:
        return TensorType(op.input.dtype, None)
    count = None if dims[0] is None else block_count(dims[0], op.length)
    return TensorType(op.input.dtype, (count, *dims[op.leading:]))


def _numpy(x: Any, leading: int, length: int) -> Any:
    axes = tuple(range(leading))
    blocks = [x[k:k + length].sum(axis=axes, dtype=x.dtype) for k in range(0, len(x), length)]
    return np.stack(blocks) if blocks else np.zeros((0, *x.shape[leading:]), x.dtype)


block_sum = OpDef(
    "block_sum", "input", infer=_infer, attrs={"leading": REQUIRED, "length": REQUIRED}, lower=BlockSum(),
    numpy=_numpy,
    doc="out[b, j] = the sum of input[i, j] over i in block b of `length` along axis 0, and over all of the "
        "other `leading` axes.",
    samples=(*shapes([(8, 5)], [(1, 3)], [(0, 3)], [(7, 70)], leading=1, length=3, smooth=False),
             *shapes([(6, 2, 5)], leading=2, length=6, smooth=False),
             *shapes([(5, 2, 3, 4)], leading=2, length=2, smooth=False)))
