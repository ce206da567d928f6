"""Operations on the bits of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.ir.dtypes import int32
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import pointwise
from graphflow.compiler.ops.elementwise import binary
from graphflow.compiler.ops.rules import elementwise
from graphflow.compiler.ops.samples import Sample, shapes

_A = np.array([[5, -7, 0, 2**31 - 1], [1, -1, -(2**31), 12]], np.int32)
_B = np.array([3, 40, -2, 31], np.int32)
_EXTRA = (Sample((_A, _B), smooth=False), Sample((_A.view(np.uint32), _B.view(np.uint32)), smooth=False),
          Sample((_A.astype(np.int64), np.int64(7)), smooth=False),
          Sample((np.arange(9, dtype=np.uint8), np.uint8(3)), smooth=False))


def _bitwise(name: str, fn: Any, numpy: Any, tf_name: str) -> OpDef:
    return binary(name, fn, numpy, lambda op, g: (None, None), kind="int", tf_name=tf_name, extra=_EXTRA,
                  dtype=int32, low=-9, high=9, smooth=False)


def _shift(fn: str) -> Any:
    """By a count in 0 .. bits-1: one outside is moved to the nearer end."""
    return lambda x, n: E.call(fn, x, E.minimum(E.maximum(n, 0), 8 * n.dtype.size - 1))


def _shift_numpy(fn: Any) -> Any:
    return lambda x, n: fn(x, np.clip(n, 0, 8 * n.dtype.itemsize - 1).astype(n.dtype))


bitwise_and = _bitwise("bitwise_and", lambda x, y: x & y, np.bitwise_and, "BitwiseAnd")
bitwise_or = _bitwise("bitwise_or", lambda x, y: x | y, np.bitwise_or, "BitwiseOr")
bitwise_xor = _bitwise("bitwise_xor", lambda x, y: x ^ y, np.bitwise_xor, "BitwiseXor")
left_shift = _bitwise("left_shift", _shift("shl"), _shift_numpy(np.left_shift), "LeftShift")
right_shift = _bitwise("right_shift", _shift("shr"), _shift_numpy(np.right_shift), "RightShift")
invert = OpDef("invert", "x", infer=elementwise("int"), lower=pointwise(lambda x: ~x), numpy=np.invert,
               grad=lambda op, g: None,
               samples=(*shapes([()], [(3, 4)], [(0,)], [(37,)], dtype=int32, low=-9, high=9, smooth=False),
                        Sample((np.arange(5, dtype=np.uint8),), smooth=False)))
