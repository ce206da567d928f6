"""LLVM types, literals and typed values."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from graphflow.compiler.ir.dtypes import DType

_SCALARS = {"float16": "half", "bfloat16": "bfloat", "float32": "float", "float64": "double", "bool": "i1"}
_SUFFIX = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64", "bool": "i1"}


class Value(NamedTuple):  # of which there are many more than of any record
    """An LLVM value: its name or literal, its dtype and its number of lanes (1 for a scalar)."""

    ref: str
    dtype: DType
    lanes: int = 1

    @property
    def type(self) -> str:
        return llvm_type(self.dtype, self.lanes)

    @property
    def is_literal(self) -> bool:
        return not self.ref.startswith("%")

    def __str__(self) -> str:
        return f"{self.type} {self.ref}"


def scalar_type(dtype: DType) -> str:
    return _SCALARS.get(dtype.name) or f"i{8 * dtype.size}"


def memory_type(dtype: DType) -> str:
    """bool takes a byte in memory."""
    return "i8" if dtype.is_bool else scalar_type(dtype)


def llvm_type(dtype: DType, lanes: int = 1) -> str:
    return vector_of(scalar_type(dtype), lanes)


def vector_of(scalar: str, lanes: int) -> str:
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def suffix(dtype: DType, lanes: int) -> str:
    """The type's spelling in intrinsic names: f32, v16f32."""
    one = _SUFFIX.get(dtype.name) or f"i{8 * dtype.size}"
    return one if lanes == 1 else f"v{lanes}{one}"


def literal(value: Any, dtype: DType) -> str:
    """A number as LLVM writes it: floats in hex, exactly."""
    if dtype.is_bool:
        return "true" if value else "false"
    if dtype.is_integer:
        return str(int(value))
    if dtype.name == "float16":
        return f"0xH{int(np.float16(value).view(np.uint16)):04X}"
    if dtype.name == "bfloat16":
        return f"0xR{int(np.asarray(value, dtype.numpy).view(np.uint16)):04X}"
    return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"


def splat_literal(value: Any, dtype: DType, lanes: int) -> str:
    one = literal(value, dtype)
    if lanes == 1:
        return one
    if one in ("0", "false", "0x0000000000000000"):
        return "zeroinitializer"
    return f"splat ({scalar_type(dtype)} {one})"
