"""What a script needs to add an op of its own: a record like those of the built-in ops.

    from graphflow import extend as gx

    swish = gx.OpDef("swish", "x", infer=gx.elementwise("float"), ...)

The new op fuses into kernels, differentiates and is tested (by `graphflow.testing.check_op`) as the
built-in ones are; `examples/custom_op.py` is a whole one.
"""

from __future__ import annotations

from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as scalar
from graphflow.compiler.loops.forms import (
    Contraction,
    Indexed,
    Pointwise,
    Reduction,
    Scatter,
    pointwise,
    pointwise_op,
    view,
)
from graphflow.compiler.ops.broadcasting import unbroadcast
from graphflow.compiler.ops.rules import comparison, elementwise, like_first, reduced, signature
from graphflow.compiler.ops.samples import BINARY, UNARY, Sample, shapes

__all__ = [
    "BINARY", "Contraction", "Indexed", "OpDef", "Pointwise", "REQUIRED", "Reduction", "Sample", "Scatter",
    "TensorType", "UNARY", "comparison", "elementwise", "like_first", "pointwise", "pointwise_op", "reduced",
    "scalar", "shapes", "signature", "unbroadcast", "view",
]
