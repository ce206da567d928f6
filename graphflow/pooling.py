"""tf.nn: pooling, with TF1's signatures. Re-exported by `nn`."""

from __future__ import annotations

from typing import Any

from graphflow.basics import name_scope
from graphflow.compiler.errors import UnsupportedError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import as_dtype
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.opdef import OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import pooling as records
from graphflow.compiler.ops import windows
from graphflow.layouts import apply, channels_first, paddings, per_axis, spatial_rank
from graphflow.renamed import either

__all__ = ["avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "avg_pool_v2", "max_pool", "max_pool1d",
           "max_pool2d", "max_pool3d", "max_pool_v2", "max_pool_with_argmax", "pool"]


def _pool(record: OpDef, function: str, x: Any, ksize: Any, strides: Any, padding: Any,
          data_format: str | None,
          name: str | None, rank: int | None, dilations: Any = 1) -> Tensor:
    if x is None or ksize is None:
        raise misfit(function, "the input and ksize are needed")
    x = as_tensor(x, for_op=function)
    rank = spatial_rank(function, x) if rank is None else rank
    first = channels_first(function, data_format, rank)
    attrs = {"size": per_axis(function, "ksize", ksize, rank, first),
             "strides": per_axis(function, "strides", strides, rank, first),
             "padding": paddings(function, padding, rank, first),
             "dilations": per_axis(function, "dilations", dilations, rank, first)}

    def pooled(x: Tensor, name: str | None) -> Tensor:
        result: Tensor = record(x, name=name, **attrs)
        return result
    return apply(pooled, x, first, name or record.tf_name)


def max_pool(value: Any = None, ksize: Any = None, strides: Any = None, padding: Any = None,
             data_format: str = "NHWC", name: str | None = None, input: Any = None) -> Tensor:
    """The largest element of each window, for each channel.

    out[b,i,j,c] = max_uv value[b, i*sh+u-top, j*sw+v-left, c], elements of the padding not counting

    Shapes:  value [batch, h, w, c] -> [batch, oh, ow, c]; with data_format="NCHW" channels are axis 1
    Units:   ksize and strides in pixels, one number for all, two, or four; padding as for conv2d
    Raises:  ShapeError C2 the rank is 4; C3 ksize and strides >= 1; C4 padding is one of these; C5 the padded
             value is no smaller than a window
    Source:  TF 1.15 tf.nn.max_pool; the gradient goes to the first maximum of a window
    """
    value = either("max_pool", "value", value, input=input)
    return _pool(records.max_pool, "max_pool", value, ksize, strides, padding, data_format, name, 2)


def avg_pool(value: Any = None, ksize: Any = None, strides: Any = None, padding: Any = None,
             data_format: str = "NHWC", name: str | None = None, input: Any = None) -> Tensor:
    """The mean of each window, for each channel, over those of its elements that are not padding.

    Shapes:  value [batch, h, w, c] -> [batch, oh, ow, c]; with data_format="NCHW" channels are axis 1
    Units:   as max_pool
    Raises:  ShapeError as max_pool
    Source:  TF 1.15 tf.nn.avg_pool
    """
    value = either("avg_pool", "value", value, input=input)
    return _pool(records.avg_pool, "avg_pool", value, ksize, strides, padding, data_format, name, 2)


def max_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC",
               name: str | None = None) -> Tensor:
    """`max_pool` for one spatial axis: [batch, w, c]."""
    return _pool(records.max_pool, "max_pool1d", input, ksize, strides, padding, data_format, name, 1)


def max_pool2d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC",
               name: str | None = None) -> Tensor:
    """`max_pool` under its newer name."""
    return _pool(records.max_pool, "max_pool2d", input, ksize, strides, padding, data_format, name, 2)


def max_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC",
               name: str | None = None) -> Tensor:
    """`max_pool` for three spatial axes: [batch, d, h, w, c]."""
    return _pool(records.max_pool, "max_pool3d", input, ksize, strides, padding, data_format, name, 3)


def max_pool_v2(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None,
                name: str | None = None) -> Tensor:
    """`max_pool` for as many spatial axes as the input has."""
    return _pool(records.max_pool, "max_pool_v2", input, ksize, strides, padding, data_format, name, None)


def avg_pool1d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC",
               name: str | None = None) -> Tensor:
    """`avg_pool` for one spatial axis: [batch, w, c]."""
    return _pool(records.avg_pool, "avg_pool1d", input, ksize, strides, padding, data_format, name, 1)


avg_pool2d = avg_pool


def avg_pool3d(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC",
               name: str | None = None) -> Tensor:
    """`avg_pool` for three spatial axes: [batch, d, h, w, c]."""
    return _pool(records.avg_pool, "avg_pool3d", input, ksize, strides, padding, data_format, name, 3)


def avg_pool_v2(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None,
                name: str | None = None) -> Tensor:
    """`avg_pool` for as many spatial axes as the input has."""
    return _pool(records.avg_pool, "avg_pool_v2", input, ksize, strides, padding, data_format, name, None)


def pool(input: Any, window_shape: Any, pooling_type: str, padding: Any, dilation_rate: Any = None,
         strides: Any = None, name: str | None = None, data_format: str | None = None,
         dilations: Any = None) -> Tensor:
    """`max_pool` or `avg_pool`, as pooling_type "MAX" or "AVG" says, for as many spatial axes as there are.

    Units:   window_shape, strides and dilation_rate hold a number for each spatial axis
    """
    record = {"MAX": records.max_pool, "AVG": records.avg_pool}.get(str(pooling_type))
    if record is None:
        raise misfit("pool", f"pooling_type {pooling_type!r} is neither 'MAX' nor 'AVG'")
    rate = either("pool", "dilations", dilations, dilation_rate=dilation_rate)
    return _pool(record, "pool", input, window_shape, strides, padding, data_format,
                 name or f"{pooling_type.lower()}_pool",
                 None, rate)


def max_pool_with_argmax(input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC",
                         Targmax: Any = None, name: str | None = None, output_dtype: Any = None,
                         include_batch_in_index: bool = False) -> tuple[Tensor, Tensor]:
    """`max_pool`, and where each maximum is: (h * width + w) * channels + c, the first of equal ones.

    With include_batch_in_index, batch * height + h stands in the place of h.
    """
    function = "max_pool_with_argmax"
    if channels_first(function, data_format, 2):
        raise misfit(function, "data_format 'NCHW': transpose to NHWC first", UnsupportedError)
    dtype = as_dtype(either(function, "output_dtype", output_dtype, Targmax=Targmax) or "int64")
    with name_scope(name, "MaxPoolWithArgmax", [input]):
        x = as_tensor(input)
        top = _pool(records.max_pool, function, x, ksize, strides, padding, data_format, None, 2)
        attrs = {k: top.op.attrs[k] for k in ("size", "strides", "padding", "dilations")}
        chosen = records.first_in_window(x, top, **attrs)
        where: Tensor = records.chosen_position(chosen, shape=windows.spatial_shape(x), dtype=dtype,
                                                with_batch=include_batch_in_index, **attrs)
        return top, where
