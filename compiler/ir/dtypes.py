"""Element types: TF1's names, numpy's layout, and the short code used in printed graphs."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.compiler.errors import DTypeError
from graphflow.compiler.ir.explain import misfit


class DType:
    """An element type such as `float32`; compares equal to its numpy type and to its name."""

    __slots__ = ("name", "code", "numpy", "kind")

    def __init__(self, name: str, code: str, numpy_type: Any, kind: str) -> None:
        self.name = name
        self.code = code
        self.kind = kind
        if numpy_type is not None:
            self.numpy: np.dtype[Any] = np.dtype(numpy_type)

    def __getattr__(self, name: str) -> Any:
        """numpy's type of bfloat16, when first asked for: importing ml_dtypes takes 5 ms."""
        if name != "numpy":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        import ml_dtypes

        self.numpy = np.dtype(ml_dtypes.bfloat16)
        return self.numpy

    @property
    def as_numpy_dtype(self) -> Any:
        return self.numpy.type

    @property
    def base_dtype(self) -> DType:
        return self

    @property
    def real_dtype(self) -> DType:
        return self

    @property
    def size(self) -> int:
        """Bytes per element."""
        return self.numpy.itemsize

    @property
    def sums(self) -> DType:
        """What sums of products are kept in: halves in float32, integers of fewer bits in int32."""
        if self.size > 2 or self.is_bool:
            return self
        return float32 if self.is_floating else int32

    def fits_into(self, other: DType) -> bool:
        """Whether each number of this dtype is one of the other's too."""
        return not self.is_bool and np.can_cast(self.numpy, other.numpy, "safe")

    @property
    def is_floating(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_unsigned(self) -> bool:
        return self.kind == "uint"

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def min(self) -> Any:
        return self._limits()[0]

    @property
    def max(self) -> Any:
        return self._limits()[1]

    def _limits(self) -> tuple[Any, Any]:
        if self.is_bool:
            return False, True
        if self.is_integer:
            info: Any = np.iinfo(self.numpy)
        else:
            import ml_dtypes

            info = ml_dtypes.finfo(self.numpy)
        return info.min, info.max

    def is_compatible_with(self, other: Any) -> bool:
        return self == as_dtype(other)

    def __eq__(self, other: Any) -> bool:
        if self is other:
            return True
        if other is None or isinstance(other, DType):
            return False
        try:
            return as_dtype(other) is self
        except DTypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: '{self.name}'>"


float16 = DType("float16", "f16", np.float16, "float")
bfloat16 = DType("bfloat16", "bf16", None, "float")
float32 = DType("float32", "f32", np.float32, "float")
float64 = DType("float64", "f64", np.float64, "float")
int8 = DType("int8", "i8", np.int8, "int")
int16 = DType("int16", "i16", np.int16, "int")
int32 = DType("int32", "i32", np.int32, "int")
int64 = DType("int64", "i64", np.int64, "int")
uint8 = DType("uint8", "u8", np.uint8, "uint")
uint16 = DType("uint16", "u16", np.uint16, "uint")
uint32 = DType("uint32", "u32", np.uint32, "uint")
uint64 = DType("uint64", "u64", np.uint64, "uint")
bool_ = DType("bool", "bool", np.bool_, "bool")

ALL: tuple[DType, ...] = (float16, bfloat16, float32, float64, int8, int16, int32, int64,
                          uint8, uint16, uint32, uint64, bool_)
BY_CODE = {t.code: t for t in ALL}
_LOOKUP: dict[Any, DType] = {key: t for t in ALL if t is not bfloat16
                             for key in (t.name, t.numpy, t.numpy.type)}
_LOOKUP |= {"bfloat16": bfloat16, "float": float32, "double": float64, "half": float16,
            float: float32, int: int32, bool: bool_}


def as_dtype(value: Any) -> DType:
    """The DType for a DType, a numpy type, a Python type or a name; DTypeError when there is none."""
    if isinstance(value, DType):
        return value
    try:
        found = _LOOKUP.get(value)
        if found is None and value is not None:  # which numpy takes for float64
            wanted = np.dtype(value)
            found = bfloat16 if wanted.name == "bfloat16" else _LOOKUP.get(wanted)
    except TypeError:
        found = None
    if found is None:
        raise misfit("", f"{value!r} is not a dtype that graphflow has "
                         f"(it has {', '.join(t.name for t in ALL)})", DTypeError)
    return found
