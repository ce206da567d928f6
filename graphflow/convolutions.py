"""tf.nn: convolutions and their gradients, with TF1's signatures. Re-exported by `nn`."""

from __future__ import annotations

from typing import Any

from graphflow.arrays import reshape
from graphflow.basics import name_scope
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.explain import location, misfit
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import convolution as records
from graphflow.compiler.ops.shapes import dim_of
from graphflow.layouts import apply, channels_first, paddings, per_axis, sizes, spatial_rank, to_last
from graphflow.renamed import either

__all__ = [
    "atrous_conv2d", "atrous_conv2d_transpose", "conv1d", "conv1d_transpose", "conv2d",
    "conv2d_backprop_filter",
    "conv2d_backprop_input", "conv2d_transpose", "conv3d", "conv3d_backprop_filter",
    "conv3d_backprop_filter_v2",
    "conv3d_transpose", "convolution", "depthwise_conv2d", "depthwise_conv2d_backprop_filter",
    "depthwise_conv2d_backprop_input", "depthwise_conv2d_native", "depthwise_conv2d_native_backprop_filter",
    "depthwise_conv2d_native_backprop_input", "separable_conv2d",
]


def _geometry(function: str, strides: Any, padding: Any, dilations: Any, rank: int,
              first: bool) -> dict[str, Any]:
    return {"strides": per_axis(function, "strides", strides, rank, first),
            "padding": paddings(function, padding, rank, first),
            "dilations": per_axis(function, "dilations", dilations, rank, first)}


def _groups(channels: Any, narrow: Any, out: Any) -> int:
    """Fewer channels in the filters than in the input: so many groups, each with filters of its own."""
    if not isinstance(channels, int) or not isinstance(narrow, int) or not 0 < narrow < channels:
        return 1
    groups, rest = divmod(channels, narrow)
    fits = rest == 0 and not (isinstance(out, int) and out % groups)
    return groups if fits else 1


def _channels(x: Tensor, axis: int) -> Any:
    dims = x.type.dims or ()
    return dims[axis] if -len(dims) <= axis < len(dims) else None


def _differ(channels: Any, narrow: Any, groups: int) -> bool:
    return isinstance(channels, int) and isinstance(narrow, int) and channels != narrow * groups


def _operands(function: str, x: Any, filters: Any) -> tuple[Tensor, Tensor]:
    if x is None or filters is None:
        raise misfit(function, "both the input and the filters are needed")
    x = as_tensor(x, for_op=function)
    return x, as_tensor(filters, x.dtype, for_op=function)


def _forward(function: str, x: Any, filters: Any, strides: Any, padding: Any, dilations: Any,
             rank: int | None,
             data_format: str | None, name: str) -> Tensor:
    x, filters = _operands(function, x, filters)
    rank = spatial_rank(function, x) if rank is None else rank
    first = channels_first(function, data_format, rank)
    attrs = _geometry(function, strides, padding, dilations, rank, first)
    channels, narrow = _channels(x, 1 if first else -1), _channels(filters, -2)
    groups = _groups(channels, narrow, _channels(filters, -1))
    if first and _differ(channels, narrow, groups):  # told of x as it is: the record sees it transposed
        raise misfit(f"{function} (C2)", f"there are {channels} input channels, in axis 1 by data_format "
                                         f"{data_format!r}, but the filters take {narrow}",
                     hint="filters are [spatial..., in, out]", operands={"x": x, "filters": filters})

    def record(x: Tensor, name: str | None) -> Tensor:
        result: Tensor = records.convolution(x, filters, groups=groups, name=name, called=function,
                                              **attrs)
        return result
    return apply(record, x, first, name)


def conv2d(input: Any, filter: Any = None, strides: Any = None, padding: Any = None,
           use_cudnn_on_gpu: bool = True,
           data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1), name: str | None = None,
           filters: Any = None) -> Tensor:
    """Cross-correlate `input` with `filters`; the kernel is not flipped.

    out[b,i,j,o] = sum_uvc input[b, i*sh+u*dh-top, j*sw+v*dw-left, c] * filters[u,v,c,o]

    The result has the dtype of the operands. Halves are summed in float32 and rounded once; integers wrap,
    int8 at 127: for int32 sums, tf.cast both operands to tf.int32.

    Shapes:  input [batch, h, w, in], filters [kh, kw, in / groups, out] -> [batch, oh, ow, out]; with
             data_format="NCHW" channels are axis 1 of input and result. Fewer channels in the filters: groups
    Units:   strides and dilations in pixels, one number for all, two, or four; padding: SAME gives
             oh = ceil(h / sh), the odd pixel behind; VALID pads nothing; or a list of pairs, one per axis
    Raises:  ShapeError C1 ranks are 4; C2 input channels == filters' in; C3 strides and dilations >= 1;
             C4 padding is one of these; C5 the padded input is no smaller than the dilated filters
    Source:  TF 1.15 tf.nn.conv2d
    """
    filter = either("conv2d", "filters", filters, filter=filter)
    return _forward("conv2d", input, filter, strides, padding, dilations, 2, data_format, name or "Conv2D")


def conv1d(value: Any = None, filters: Any = None, stride: Any = None, padding: Any = None,
           use_cudnn_on_gpu: bool | None = None, data_format: str | None = None, name: str | None = None,
           input: Any = None, dilations: Any = None) -> Tensor:
    """`conv2d` for one spatial axis: value [batch, w, in], filters [k, in, out] -> [batch, ow, out]."""
    value = either("conv1d", "value", value, input=input)
    return _forward("conv1d", value, filters, stride, padding, dilations, 1, data_format, name or "conv1d")


def conv3d(input: Any, filter: Any = None, strides: Any = None, padding: Any = None,
           data_format: str = "NDHWC",
           dilations: Any = (1, 1, 1, 1, 1), name: str | None = None, filters: Any = None) -> Tensor:
    """`conv2d` for three spatial axes: input [batch, d, h, w, in], filters [kd, kh, kw, in, out]."""
    filter = either("conv3d", "filters", filters, filter=filter)
    return _forward("conv3d", input, filter, strides, padding, dilations, 3, data_format, name or "Conv3D")


def convolution(input: Any, filter: Any = None, padding: Any = None, strides: Any = None,
                dilation_rate: Any = None,
                name: str | None = None, data_format: str | None = None, filters: Any = None,
                dilations: Any = None) -> Tensor:
    """`conv2d` for as many spatial axes as the input has; strides and dilations hold a number for each."""
    filter = either("convolution", "filters", filters, filter=filter)
    rate = either("convolution", "dilations", dilations, dilation_rate=dilation_rate)
    return _forward("convolution", input, filter, strides, padding, rate, None, data_format,
                    name or "convolution")


def atrous_conv2d(value: Any, filters: Any, rate: Any, padding: Any, name: str | None = None) -> Tensor:
    """`conv2d` with dilations of `rate`: rate - 1 pixels are left out between those that filters see."""
    return _forward("atrous_conv2d", value, filters, 1, padding, rate, 2, None, name or "convolution")


# The gradients, which are also called transposed convolution


def _to_input(function: str, input_sizes: Any, filters: Any, g: Any, strides: Any, padding: Any,
              dilations: Any,
              rank: int, data_format: str | None, name: str) -> Tensor:
    g, filters = _operands(function, g, filters)
    first = channels_first(function, data_format, rank)
    attrs = _geometry(function, strides, padding, dilations, rank, first)
    argument = "input_sizes" if "backprop" in function else "output_shape"
    given = sizes(function, argument, input_sizes, rank + 2)
    batch, channels = given[0], given[1 if first else -1]
    shape = given[2:] if first else given[1:-1]
    narrow = _channels(filters, -2)
    groups = _groups(channels, narrow, _channels(filters, -1))
    if _differ(channels, narrow, groups):
        raise misfit(function, f"{argument} {list(given)} asks for {channels} channels, but the filters give "
                               f"{narrow}", hint="filters are [spatial..., out, in]",
                     operands={"value": g, "filters": filters})

    def record(g: Tensor, name: str | None) -> Tensor:
        result: Tensor = records.convolution_input_grad(g, filters, shape=shape, groups=groups, name=name,
                                                        called=function, **attrs)
        return result
    result = apply(record, g, first, name)
    _agree(function, result, 0, batch)
    _agree(function, result, 1 if first else -1, channels)
    return result


def _agree(function: str, t: Tensor, axis: int, wanted: Any) -> None:
    """The caller's batch and channels are those of the operands."""
    found = _channels(t, axis)
    if isinstance(found, int) and isinstance(wanted, int) and found != wanted:
        raise misfit(function, f"the operands make axis {axis} of the result {found}, but {wanted} was asked "
                               f"for")
    if isinstance(wanted, int) and t.type.rank is not None:
        k = axis % t.type.rank
        t.set_shape([wanted if j == k else None for j in range(t.type.rank)])


def _to_filter(function: str, x: Any, filter_sizes: Any, g: Any, strides: Any, padding: Any, dilations: Any,
               rank: int, data_format: str | None, name: str) -> Tensor:
    x, g = _operands(function, x, g)
    first = channels_first(function, data_format, rank)
    attrs = _geometry(function, strides, padding, dilations, rank, first)
    given = sizes(function, "the shape of the filters", filter_sizes, rank + 2)
    groups = _groups(_channels(x, 1 if first else -1), given[-2], given[-1])
    x, g = (to_last(x), to_last(g)) if first else (x, g)
    result: Tensor = records.convolution_filter_grad(x, g, shape=given[:-2], groups=groups, name=name,
                                                     called=function, **attrs)
    for axis in (-2, -1):
        _agree(function, result, axis, given[axis])
    return result


def conv2d_transpose(value: Any = None, filter: Any = None, output_shape: Any = None, strides: Any = None,
                     padding: Any = "SAME", data_format: str = "NHWC", name: str | None = None,
                     input: Any = None,
                     filters: Any = None, dilations: Any = None) -> Tensor:
    """The gradient of a `conv2d` to its input, as a layer: each pixel adds its multiple of the filters.

    Shapes:  value [batch, h, w, in], filters [kh, kw, out, in] -> output_shape [batch, oh, ow, out], which
             may hold dims known only at run time; a conv2d of that shape must give the shape of value
    Raises:  ShapeError as conv2d, and where output_shape does not fit
    Source:  TF 1.15 tf.nn.conv2d_transpose
    """
    value = either("conv2d_transpose", "value", value, input=input)
    filter = either("conv2d_transpose", "filters", filters, filter=filter)
    return _to_input("conv2d_transpose", output_shape, filter, value, strides, padding, dilations, 2,
                     data_format,
                     name or "conv2d_transpose")


def conv1d_transpose(input: Any, filters: Any, output_shape: Any, strides: Any, padding: Any = "SAME",
                     data_format: str = "NWC", dilations: Any = None, name: str | None = None) -> Tensor:
    """`conv2d_transpose` for one spatial axis."""
    return _to_input("conv1d_transpose", output_shape, filters, input, strides, padding, dilations, 1,
                     data_format,
                     name or "conv1d_transpose")


def conv3d_transpose(value: Any = None, filter: Any = None, output_shape: Any = None, strides: Any = None,
                     padding: Any = "SAME", data_format: str = "NDHWC", name: str | None = None,
                     input: Any = None,
                     filters: Any = None, dilations: Any = None) -> Tensor:
    """`conv2d_transpose` for three spatial axes."""
    value = either("conv3d_transpose", "value", value, input=input)
    filter = either("conv3d_transpose", "filters", filters, filter=filter)
    return _to_input("conv3d_transpose", output_shape, filter, value, strides, padding, dilations, 3,
                     data_format,
                     name or "conv3d_transpose")


def atrous_conv2d_transpose(value: Any, filters: Any, output_shape: Any, rate: Any, padding: Any,
                            name: str | None = None) -> Tensor:
    """The gradient of an `atrous_conv2d` to its input, as a layer."""
    return _to_input("atrous_conv2d_transpose", output_shape, filters, value, 1, padding, rate, 2, None,
                     name or "atrous_conv2d_transpose")


def conv2d_backprop_input(input_sizes: Any, filter: Any = None, out_backprop: Any = None, strides: Any = None,
                          padding: Any = None, use_cudnn_on_gpu: bool = True, data_format: str = "NHWC",
                          dilations: Any = (1, 1, 1, 1), name: str | None = None,
                          filters: Any = None) -> Tensor:
    """The gradient of a `conv2d` to its input, of shape `input_sizes`, from that to its result."""
    filter = either("conv2d_backprop_input", "filters", filters, filter=filter)
    return _to_input("conv2d_backprop_input", input_sizes, filter, out_backprop, strides, padding,
                     dilations, 2,
                     data_format, name or "Conv2DBackpropInput")


def conv2d_backprop_filter(input: Any, filter_sizes: Any, out_backprop: Any, strides: Any = None,
                           padding: Any = None, use_cudnn_on_gpu: bool = True, data_format: str = "NHWC",
                           dilations: Any = (1, 1, 1, 1), name: str | None = None) -> Tensor:
    """The gradient of a `conv2d` to its filters, of shape `filter_sizes`, from that to its result."""
    return _to_filter("conv2d_backprop_filter", input, filter_sizes, out_backprop, strides, padding,
                      dilations, 2,
                      data_format, name or "Conv2DBackpropFilter")


def conv3d_backprop_filter_v2(input: Any, filter_sizes: Any, out_backprop: Any, strides: Any, padding: Any,
                              data_format: str = "NDHWC", dilations: Any = (1, 1, 1, 1, 1),
                              name: str | None = None) -> Tensor:
    """The gradient of a `conv3d` to its filters."""
    return _to_filter("conv3d_backprop_filter_v2", input, filter_sizes, out_backprop, strides, padding,
                      dilations,
                      3, data_format, name or "Conv3DBackpropFilterV2")


conv3d_backprop_filter = conv3d_backprop_filter_v2


# Depthwise


def _depthwise_dims(function: str, shape: tuple[Any, ...], channels: Any) -> tuple[tuple[Any, ...], int]:
    """[kh, kw, c, m] as the filters [kh, kw, 1, c * m] of a convolution in c groups."""
    groups = shape[2] if isinstance(shape[2], int) else channels
    if not isinstance(groups, int):
        raise misfit(function, "the number of channels must be known while the graph is built")
    last = groups * shape[3] if isinstance(shape[3], int) else -1
    return (*shape[:2], 1, last), groups


def _depthwise_filters(function: str, filter: Any, dtype: DType, channels: Any) -> tuple[Tensor, int]:
    filters = as_tensor(filter, dtype, for_op=function)
    if filters.type.rank != 4:
        raise misfit(function, f"filters must be [kh, kw, channels, multiplier], but {filters.name} is "
                               f"{filters.type}, made at {location(filters)}")
    shape, groups = _depthwise_dims(function, tuple(dim_of(filters, k) for k in range(4)), channels)
    return reshape(filters, shape), groups


def depthwise_conv2d_native(input: Any, filter: Any, strides: Any, padding: Any,
                            data_format: str | None = "NHWC",
                            dilations: Any = (1, 1, 1, 1), name: str | None = None) -> Tensor:
    """Convolve each channel with filters of its own.

    out[b,i,j, c*m+q] = sum_uv input[b, i*sh+u*dh-top, j*sw+v*dw-left, c] * filter[u,v,c,q]

    Shapes:  input [batch, h, w, c], filter [kh, kw, c, m] -> [batch, oh, ow, c * m]
    Units:   as conv2d
    Raises:  ShapeError as conv2d
    Source:  TF 1.15 tf.nn.depthwise_conv2d_native
    """
    function = "depthwise_conv2d"
    x = as_tensor(input, for_op=function)
    first = channels_first(function, data_format, 2)
    attrs = _geometry(function, strides, padding, dilations, 2, first)
    filters, groups = _depthwise_filters(function, filter, x.dtype, _channels(x, 1 if first else -1))

    def record(x: Tensor, name: str | None) -> Tensor:
        result: Tensor = records.convolution(x, filters, groups=groups, name=name, called=function,
                                              **attrs)
        return result
    return apply(record, x, first, name or "depthwise")


def depthwise_conv2d(input: Any, filter: Any, strides: Any, padding: Any, rate: Any = None,
                     name: str | None = None,
                     data_format: str | None = None, dilations: Any = None) -> Tensor:
    """Convolve each channel with filters of its own, as `depthwise_conv2d_native`; rate is the dilation."""
    rate = either("depthwise_conv2d", "dilations", dilations, rate=rate)
    return depthwise_conv2d_native(input, filter, strides, padding, data_format, rate, name or "depthwise")


def depthwise_conv2d_native_backprop_input(input_sizes: Any, filter: Any, out_backprop: Any, strides: Any,
                                           padding: Any, data_format: str = "NHWC",
                                           dilations: Any = (1, 1, 1, 1), name: str | None = None) -> Tensor:
    """The gradient of a `depthwise_conv2d` to its input, of shape `input_sizes`."""
    function = "depthwise_conv2d_backprop_input"
    g = as_tensor(out_backprop, for_op=function)
    first = channels_first(function, data_format, 2)
    attrs = _geometry(function, strides, padding, dilations, 2, first)
    given = sizes(function, "the shape of the result", input_sizes, 4)
    filters, groups = _depthwise_filters(function, filter, g.dtype, given[1 if first else -1])

    def record(g: Tensor, name: str | None) -> Tensor:
        result: Tensor = records.convolution_input_grad(g, filters, shape=given[2:] if first else given[1:-1],
                                                        groups=groups, name=name, called=function, **attrs)
        return result
    return apply(record, g, first, name or "DepthwiseConv2dNativeBackpropInput")


def depthwise_conv2d_native_backprop_filter(input: Any, filter_sizes: Any, out_backprop: Any, strides: Any,
                                            padding: Any, data_format: str = "NHWC",
                                            dilations: Any = (1, 1, 1, 1), name: str | None = None) -> Tensor:
    """The gradient of a `depthwise_conv2d` to its filters, of shape `filter_sizes`."""
    function = "depthwise_conv2d_backprop_filter"
    x, g = _operands(function, input, out_backprop)
    first = channels_first(function, data_format, 2)
    attrs = _geometry(function, strides, padding, dilations, 2, first)
    given = sizes(function, "the shape of the filters", filter_sizes, 4)
    shape, groups = _depthwise_dims(function, given, _channels(x, 1 if first else -1))
    with name_scope(name, "DepthwiseConv2dNativeBackpropFilter") as scope:
        x, g = (to_last(x), to_last(g)) if first else (x, g)
        result = records.convolution_filter_grad(x, g, shape=shape[:2], groups=groups, called=function,
                                                 **attrs)
        return reshape(result, given, name=scope)


depthwise_conv2d_backprop_input = depthwise_conv2d_native_backprop_input
depthwise_conv2d_backprop_filter = depthwise_conv2d_native_backprop_filter


def separable_conv2d(input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any,
                     rate: Any = None, name: str | None = None, data_format: str | None = None,
                     dilations: Any = None) -> Tensor:
    """`depthwise_conv2d`, then a 1x1 convolution over all of its channels.

    Shapes:  depthwise_filter [kh, kw, c, m], pointwise_filter [1, 1, c * m, out] -> [batch, oh, ow, out]
    """
    with name_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]) as scope:
        x = depthwise_conv2d(input, depthwise_filter, strides, padding, rate, None, data_format, dilations)
        return _forward("separable_conv2d", x, pointwise_filter, 1, "VALID", 1, 2, data_format, scope)
