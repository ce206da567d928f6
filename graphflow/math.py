"""tf.math: arithmetic, functions, comparison, reductions. Most names are the op records themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphflow.compiler.errors import UnsupportedError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import as_dtype, bfloat16, bool_, float32, float64, int32, int64
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import core, elementwise, gamma, linalg, logic, mathematics, reductions
from graphflow.missing import missing_names
from graphflow.renamed import either, is_int, plain_axis

# Arithmetic: functions (x, y, name=None) that broadcast

add = elementwise.add
subtract = sub = elementwise.sub
multiply = mul = elementwise.mul
truediv = divide = elementwise.truediv
realdiv = elementwise.realdiv
div = elementwise.div
floordiv = floor_div = elementwise.floordiv
floormod = mod = elementwise.floormod
div_no_nan = divide_no_nan = elementwise.div_no_nan
maximum = elementwise.maximum
minimum = elementwise.minimum
squared_difference = elementwise.squared_difference
pow = elementwise.pow_
atan2 = mathematics.atan2

# Functions (x, name=None)

negative = neg = elementwise.neg
abs = complex_abs = elementwise.abs_
sign = elementwise.sign
square = elementwise.square
sqrt = elementwise.sqrt
rsqrt = elementwise.rsqrt
reciprocal = inv = elementwise.reciprocal
floor = elementwise.floor
ceil = elementwise.ceil
rint = elementwise.rint
round = elementwise.round_
exp = mathematics.exp
expm1 = mathematics.expm1
log = mathematics.log
log1p = mathematics.log1p
sin = mathematics.sin
cos = mathematics.cos
tan = mathematics.tan
asin = mathematics.asin
acos = mathematics.acos
atan = mathematics.atan
sinh = mathematics.sinh
cosh = mathematics.cosh
tanh = mathematics.tanh
asinh = mathematics.asinh
acosh = mathematics.acosh
atanh = mathematics.atanh
sigmoid = mathematics.sigmoid
erf = mathematics.erf
erfc = mathematics.erfc
erfinv = mathematics.erfinv
ndtri = mathematics.ndtri
lgamma = gamma.lgamma
digamma = gamma.digamma
exp2 = mathematics.exp2
log2 = mathematics.log2
cbrt = mathematics.cbrt

# Comparison and logic

equal = logic.equal
not_equal = logic.not_equal
less = logic.less
less_equal = logic.less_equal
greater = logic.greater
greater_equal = logic.greater_equal
logical_and = logic.logical_and
logical_or = logic.logical_or
logical_xor = logic.logical_xor
logical_not = logic.logical_not
is_nan = logic.is_nan
is_inf = logic.is_inf
is_finite = logic.is_finite


def softplus(features: Any, name: str | None = None) -> Tensor:
    """log(1 + exp(features))"""
    result: Tensor = mathematics.softplus(features, name=name)
    return result


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """log(sigmoid(x)), without overflow: -softplus(-x)"""
    result: Tensor = elementwise.neg(mathematics.softplus(elementwise.neg(x)), name=name or "LogSigmoid")
    return result


def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """Derivative `a`, a number from 0 to 20, of digamma at x.

    Raises:  UnsupportedError C1 `a` is such a number, and not a tensor
    """
    order = int(a) if is_int(a) or (isinstance(a, float) and a.is_integer()) else -1
    if not 0 <= order <= 20:
        raise UnsupportedError(f"polygamma (C1): a is {a!r}, but must be a whole number from 0 to 20")
    result: Tensor = (gamma.polygamma(x, order=order, name=name) if order
                      else gamma.digamma(x, name=name or "Polygamma"))
    return result


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor:
    """scalar * x"""
    result: Tensor = elementwise.mul(scalar, x, name=name or "mul")
    return result


def xlogy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x * log(y), and 0 where x is 0."""
    x = as_tensor(x)
    y = as_tensor(y, x.dtype)
    safe = logic.where_v2(_is_zero(x), as_tensor(1, y.dtype), y)
    result: Tensor = elementwise.mul(x, mathematics.log(safe), name=name or "xlogy")
    return result


def _is_zero(x: Tensor) -> Tensor:
    result: Tensor = logic.equal(x, as_tensor(0, x.dtype))
    return result


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of a list of tensors of one shape."""
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not inputs:
        raise ValueError("add_n: at least one tensor is needed")
    if len(inputs) == 1:
        return core.identity(inputs[0], name=name) if name else as_tensor(inputs[0])
    result: Tensor = elementwise.add_n(*inputs, name=name)
    return result


def accumulate_n(inputs: Sequence[Any], shape: Any = None, tensor_dtype: Any = None,
                 name: str | None = None) -> Tensor:
    """`add_n`."""
    return add_n(inputs, name)


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Tensor:
    """t, but not below the one and not above the other limit."""
    result: Tensor = elementwise.clip_by_value(t, clip_value_min, clip_value_max,
                                               name=name or "clip_by_value")
    return result


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """x where the condition holds, else y; a 1-D condition picks rows."""
    if x is None or y is None:
        raise UnsupportedError("where(condition) alone: its size would depend on values; give x and y")
    result: Tensor = logic.where(condition, x, y, name=name)
    return result


# Casts


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """x in another dtype; floats become ints by dropping the fraction."""
    t, wanted = as_tensor(x), as_dtype(dtype)
    if t.dtype is wanted:
        return t
    result: Tensor = core.cast(t, dtype=wanted, name=name)
    return result


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`cast`, with values beyond the range of the dtype moved to its limits."""
    t, wanted = as_tensor(value), as_dtype(dtype)
    if t.dtype.min < wanted.min:
        t = elementwise.maximum(t, as_tensor(wanted.min, t.dtype))
    if t.dtype.max > wanted.max:
        t = elementwise.minimum(t, as_tensor(wanted.max, t.dtype))
    return cast(t, wanted, name or "saturate_cast")


def to_float(x: Any, name: str = "ToFloat") -> Tensor:
    """x as float32."""
    return cast(x, float32, name)


def to_double(x: Any, name: str = "ToDouble") -> Tensor:
    """x as float64."""
    return cast(x, float64, name)


def to_int32(x: Any, name: str = "ToInt32") -> Tensor:
    """x as int32."""
    return cast(x, int32, name)


def to_int64(x: Any, name: str = "ToInt64") -> Tensor:
    """x as int64."""
    return cast(x, int64, name)


def to_bfloat16(x: Any, name: str = "ToBFloat16") -> Tensor:
    """x as bfloat16."""
    return cast(x, bfloat16, name)


# Reductions


def _reduction(record: Any, doc: str) -> Callable[..., Tensor]:
    def reduce(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, name: str | None = None,
               reduction_indices: Any = None, keep_dims: bool | None = None) -> Tensor:
        function = record.name
        axis = either(function, "axis", axis, reduction_indices=reduction_indices)
        keep = either(function, "keepdims", keepdims, keep_dims=keep_dims)
        result: Tensor = record(input_tensor, axis=plain_axis(axis), keepdims=bool(keep), name=name)
        return result

    reduce.__name__ = reduce.__qualname__ = record.name
    reduce.__doc__ = f"{doc} over `axis` (an int or a list of ints; default all), kept as 1 with `keepdims`."
    return reduce


reduce_sum = _reduction(reductions.reduce_sum, "The sum")
reduce_mean = _reduction(reductions.reduce_mean, "The mean")
reduce_max = _reduction(reductions.reduce_max, "The largest value")
reduce_min = _reduction(reductions.reduce_min, "The smallest value")
reduce_prod = _reduction(reductions.reduce_prod, "The product")
reduce_all = _reduction(reductions.reduce_all, "Whether all are true,")
reduce_any = _reduction(reductions.reduce_any, "Whether any is true,")
reduce_logsumexp = _reduction(reductions.reduce_logsumexp, "log(sum(exp(x))), without overflow,")


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: bool = False,
                    name: str | None = None) -> Tensor:
    """The mean squared distance from the mean, over `axis`."""
    x = as_tensor(input_tensor)
    mean = reduce_mean(x, axis, True)
    return reduce_mean(elementwise.square(x - mean), axis, keepdims, name or "reduce_variance")


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: bool = False,
               name: str | None = None) -> Tensor:
    """The square root of the variance over `axis`."""
    result: Tensor = elementwise.sqrt(reduce_variance(input_tensor, axis, keepdims),
                                      name=name or "reduce_std")
    return result


def count_nonzero(input_tensor: Any, axis: Any = None, keepdims: bool | None = None, dtype: Any = int64,
                  name: str | None = None, reduction_indices: Any = None,
                  keep_dims: bool | None = None) -> Tensor:
    """How many elements over `axis` are not zero."""
    x = as_tensor(input_tensor)
    zero = as_tensor(False if x.dtype is bool_ else 0, x.dtype)
    return reduce_sum(cast(logic.not_equal(x, zero), dtype), axis, keepdims, name or "count_nonzero",
                      reduction_indices, keep_dims)


def argmax(input: Any, axis: Any = None, name: str | None = None, dimension: Any = None,
           output_type: Any = int64) -> Tensor:
    """The index of the largest value along an axis (default 0), the first one of equals."""
    return _arg(reductions.argmax, input, axis, name, dimension, output_type)


def argmin(input: Any, axis: Any = None, name: str | None = None, dimension: Any = None,
           output_type: Any = int64) -> Tensor:
    """The index of the smallest value along an axis (default 0), the first one of equals."""
    return _arg(reductions.argmin, input, axis, name, dimension, output_type)


def _arg(record: Any, input: Any, axis: Any, name: str | None, dimension: Any, output_type: Any) -> Tensor:
    axis = either(record.name, "axis", axis, dimension=dimension)
    result: Tensor = record(input, axis=0 if axis is None else axis, output_type=as_dtype(output_type),
                            name=name)
    return result


arg_max, arg_min = argmax, argmin

# Products


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False,
           adjoint_b: bool = False, a_is_sparse: bool = False, b_is_sparse: bool = False,
           name: str | None = None, output_type: Any = None) -> Tensor:
    """The matrix product over the last two axes, operands transposed where asked; the rest broadcasts.

    Halves are summed in float32 and rounded once; on CPUs that multiply bfloat16 in pairs, numbers below the
    smallest normal one count as 0. Integers wrap, int8 at 127: `output_type=tf.int32` gives the int32 sums of
    operands of 8 and 16 bits, of which int8 and uint8 may then be mixed; tf.float32 leaves products of halves
    unrounded. With tf.float32 or tf.float64 one operand may be of a dtype whose numbers all are of that one:
    such a matrix, as one under a tf.cast, is never in memory in the wider dtype.

    Source:  TF 2 tf.linalg.matmul for output_type
    """
    wanted = None if output_type is None else as_dtype(output_type)
    if wanted is not None:
        a, b = (v if isinstance(v, Tensor) else as_tensor(v) for v in (a, b))
        wanted = None if wanted is a.dtype is b.dtype else wanted
    result: Tensor = linalg.matmul(a, b, transpose_a=bool(transpose_a or adjoint_a), output_type=wanted,
                                   transpose_b=bool(transpose_b or adjoint_b), name=name)
    return result


sparse_matmul = matmul


def batch_matmul(x: Any, y: Any, adj_x: bool = False, adj_y: bool = False, name: str | None = None) -> Tensor:
    """`matmul`, as TF 0.x called it for stacks of matrices."""
    return matmul(x, y, adj_x, adj_y, name=name or "BatchMatMul")


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """The sum of products over pairs of axes: the last n of a with the first n of b, or two lists of axes."""
    from graphflow.arrays import reshape, transpose
    from graphflow.basics import name_scope

    with name_scope(name, "Tensordot", [a, b]):
        a = as_tensor(a)
        b = as_tensor(b, a.dtype, for_op="tensordot")
        if a.type.rank is None or b.type.rank is None:
            raise misfit("tensordot", "the ranks of both operands must be known")
        over_a, over_b = _contracted(axes, a.type.rank, b.type.rank)
        free_a = [k for k in range(a.type.rank) if k not in over_a]
        free_b = [k for k in range(b.type.rank) if k not in over_b]
        rows, columns = _dims(a, free_a), _dims(b, free_b)
        inner = _dims(a, over_a)
        if _differ(inner, _dims(b, over_b)):
            raise misfit("tensordot", f"axes {over_a} of a and {over_b} of b must have equal dims",
                         operands={"a": a, "b": b})
        left = reshape(transpose(a, free_a + over_a), [_product(rows), _product(inner)])
        right = reshape(transpose(b, over_b + free_b), [_product(inner), _product(columns)])
        return reshape(matmul(left, right), [*rows, *columns])


def _contracted(axes: Any, rank_a: int, rank_b: int) -> tuple[list[int], list[int]]:
    if is_int(axes):
        return list(range(rank_a - axes, rank_a)), list(range(axes))
    over_a, over_b = ([x] if is_int(x) else [int(k) for k in x] for x in axes)
    return [k % rank_a for k in over_a], [k % rank_b for k in over_b]


def _differ(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) != len(b) or any(is_int(x) and is_int(y) and x != y for x, y in zip(a, b, strict=True))


def _dims(t: Tensor, axes: Sequence[int]) -> list[Any]:
    """The dims of some axes: numbers where they are known, else tensors."""
    from graphflow.arrays import shape

    known = t.type.dims or ()
    return [known[k] if known[k] is not None else shape(t)[k] for k in axes]


def _product(dims: Sequence[Any]) -> Any:
    total: Any = 1
    for d in dims:
        total = d * total
    return total

__getattr__ = missing_names("graphflow.math")
