"""Arguments that make no sense: our own error names the call, the argument, its value and the user's line."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph  # noqa: F401

import graphflow as tf
from graphflow.compiler.errors import DTypeError, GraphflowError, ShapeError, UnsupportedError

SIZES = {1: [2, 8, 4], 2: [2, 8, 8, 4], 3: [2, 8, 8, 8, 4]}
COMMON = {"strides": 1, "padding": "SAME"}


def _x(rank=2, channels=4):
    return tf.placeholder(tf.float32, [*SIZES[rank][:-1], channels])


def _f(rank=2):
    return np.zeros((*[3] * rank, 4, 4), np.float32)


def _to_input(function, rank):
    return lambda output_shape=SIZES[rank], **k: function(_x(rank), _f(rank), output_shape, **k)


CALLS = {
    "conv1d": lambda strides=1, **k: tf.nn.conv1d(_x(1), _f(1), strides, **k),
    "conv2d": lambda **k: tf.nn.conv2d(_x(), _f(), **k),
    "conv3d": lambda **k: tf.nn.conv3d(_x(3), _f(3), **k),
    "convolution": lambda **k: tf.nn.convolution(_x(), _f(), **k),
    "conv1d_transpose": _to_input(tf.nn.conv1d_transpose, 1),
    "conv2d_transpose": _to_input(tf.nn.conv2d_transpose, 2),
    "conv3d_transpose": _to_input(tf.nn.conv3d_transpose, 3),
    "conv2d_backprop_input": lambda output_shape=SIZES[2], **k: tf.nn.conv2d_backprop_input(
        output_shape, _f(), _x(), **k),
    "conv2d_backprop_filter": lambda output_shape=(3, 3, 4, 4), **k: tf.nn.conv2d_backprop_filter(
        _x(), output_shape, _x(), **k),
    "depthwise_conv2d": lambda **k: tf.nn.depthwise_conv2d(_x(), _f(), **k),
    "depthwise_conv2d_backprop_input": lambda output_shape=SIZES[2], **k:
        tf.nn.depthwise_conv2d_native_backprop_input(output_shape, _f(), _x(channels=16), **k),
    "depthwise_conv2d_backprop_filter": lambda output_shape=(3, 3, 4, 4), **k:
        tf.nn.depthwise_conv2d_native_backprop_filter(_x(), output_shape, _x(channels=16), **k),
    "max_pool": lambda ksize=2, **k: tf.nn.max_pool(_x(), ksize, **k),
    "avg_pool": lambda ksize=2, **k: tf.nn.avg_pool(_x(), ksize, **k),
    "avg_pool3d": lambda ksize=2, **k: tf.nn.avg_pool3d(_x(3), ksize, **k),
    "max_pool_v2": lambda ksize=2, **k: tf.nn.max_pool_v2(_x(), ksize, **k),
    "max_pool_with_argmax": lambda ksize=2, **k: tf.nn.max_pool_with_argmax(_x(), ksize, **k)}
NUMBERS = ["x", "2", 0, -1, 1.5, float("nan"), [1, "x", 1, 1], [2, 2, 2, 2, 2, 2], [[1, 1]], [None, 1], {},
           [], object(), b"1"]
SHAPES = ["x", None, 5, [1, 2], [2, 8, "a", 4], [2, -1, 8, 4], [[2, 8, 8, 4]], [2, 8.5, 8, 4]]
WRONG = {
    "strides": NUMBERS, "ksize": NUMBERS, "dilations": NUMBERS, "output_shape": SHAPES,
    "padding": ["x", b"SAME", None, 5, [1, 2], [[1, 2, 3]] * 2, [["a", "b"]] * 2, [[-1, 0], [0, 0]], {}],
    "data_format": ["x", 5, [], {}, "nhwc", "NHWCX"]}


@pytest.mark.parametrize("name", CALLS)
def test_the_error_names_the_call_and_the_line(name):
    call = CALLS[name]
    call(**COMMON)
    takes = {*call.__code__.co_varnames, "strides", "padding", "data_format"}
    takes |= set() if "pool" in name else {"dilations"}
    for argument in takes & WRONG.keys():
        named = "(shape|sizes)" if argument == "output_shape" else argument
        for value in WRONG[argument]:
            with pytest.raises(ShapeError, match=rf"(?s)^{name}\b.*{named}.*test_bad_arguments.py:\d+"):
                call(**{**COMMON, argument: value})


def test_numbers_that_only_the_run_knows_are_no_strides():
    for number in (tf.placeholder(tf.int32, [2]), tf.constant([1, 1])):
        with pytest.raises(ShapeError, match="strides must be whole numbers of 1 or more, known while"):
            tf.nn.conv2d(_x(), _f(), number, "SAME")


def test_what_is_not_there_says_so_with_the_line():
    with pytest.raises(UnsupportedError, match=r"(?s)transpose to NHWC first.*test_bad_arguments.py:\d+"):
        tf.nn.max_pool_with_argmax(_x(), 2, 1, "SAME", data_format="NCHW")
    with pytest.raises(ShapeError, match=r"(?s)pool: pooling_type \['MAX'\] is neither.*test_bad_arg"):
        tf.nn.pool(_x(), 2, ["MAX"], "SAME")
    for missing in (lambda: tf.nn.conv2d(_x()), lambda: tf.nn.max_pool(_x())):
        with pytest.raises(ShapeError, match=r"(?s)needed.*test_bad_arguments.py:\d+"):
            missing()


def _t(*shape, dtype=tf.float32):
    return tf.placeholder(dtype, shape)


MISFITS = [
    (lambda: tf.one_hot([1, 2], -1), r"one_hot would give f32\[2,-1\], with a dim below 0: depth is -1"),
    (lambda: tf.one_hot([1, 2], [3]), r"one_hot \(C1\): depth must be one whole number, not \[3\]"),
    (lambda: tf.one_hot([1, 2], 2.5), "one_hot: depth 2.5: a whole number is needed"),
    (lambda: tf.placeholder(tf.float32, [-2]),
     r"placeholder: shape \[-2\]: a dim is 0 or more.*hint: None is"),
    (lambda: tf.placeholder(tf.float32, [2, "a"]), r"placeholder: shape \[2, 'a'\]: a dim is an int or None"),
    (lambda: tf.get_variable("v", [-1]), r"get_variable: shape \[-1\]"),
    (lambda: tf.get_variable("v"), "get_variable: variable 'v' is new, so its shape is needed"),
    (lambda: tf.zeros([2, -3]), r"fill would give f32\[2,-3\].*dims is \[2, -3\]"),
    (lambda: tf.random_normal([-1]), r"random_normal would give f32\[-1\].*shape is \[-1\]"),
    (lambda: tf.random_normal([1], "a"), "random_normal: mean must be a number or a tensor of one, not 'a'"),
    (lambda: tf.random_uniform([1], 0, "a"), "random_uniform: maxval must be a number"),
    (lambda: tf.unsorted_segment_sum(_t(2, 3), [0, 1], -1), "unsorted_segment_sum.*num_segments is -1"),
    (lambda: tf.histogram_fixed_width(_t(3), [0.0, 1.0], -1), "below 0"),
    (lambda: tf.nn.lrn(_t(2, 3)), r"lrn \(C2\): input must have rank 4"),
    (lambda: tf.nn.lrn(_t(1, 2, 2, 3), -1),
     r"lrn \(C3\): depth_radius must be a whole number of 0 or more, not -1"),
    (lambda: tf.nn.lrn(_t(1, 2, 2, 3), 2.5), "depth_radius.*not 2.5"),
    (lambda: tf.nn.local_response_normalization(_t(1, 2, 2, 3), alpha=None),
     "alpha must be a number, not None"),
    (lambda: tf.nn.top_k(_t(2, 3), 5), r"top_k \(C2\): k is 5, but the last axis has 3 elements"),
    (lambda: tf.nn.top_k(_t(2, 3), [1]), r"top_k \(C1\): k must be one whole number, not \[1\]"),
    (lambda: tf.split(_t(2, 6), [2, 3], 1), r"split \(C1\): axis 1 of f32\[2,6\].* into parts of \[2, 3\]"),
    (lambda: tf.split(_t(2, 6), [7, -1], 1), r"split \(C1\): .* does not split into parts of \[7, -1\]"),
    (lambda: tf.split(_t(2, 6), 4, 1), "does not split into 4 equal parts"),
    (lambda: tf.split(_t(2, 6), [2, -4, 8], 1), r"split would give .*num_or_size_splits is \[2, -4, 8\]"),
    (lambda: tf.gather(_t(2, 3), [0], axis=2), r"gather \(C3\): axis 2 is outside of \[-2, 2\)"),
    (lambda: tf.gather(_t(2, 3), [0], axis="a"), "gather: axis 'a': a whole number is needed"),
    (lambda: tf.concat([_t(2, 3), _t(2)], 0), r"concat \(C2\): .*\[2,3\] is not \[2\]"),
    (lambda: tf.stack(5), "stack: values must be a list of tensors, not 5"),
    (lambda: tf.tile(_t(2, 3), [2]),
     r"tile \(C1\): multiples \[2\] must hold one number .* each of the 2 axes"),
    (lambda: tf.tile(_t(2, 3), 2), r"tile \(C1\): multiples must be a list of whole numbers, not 2"),
    (lambda: tf.tile(_t(2, 3), [2, 1.5]), r"tile: multiples \[2, 1.5\]: a whole number is needed"),
    (lambda: tf.pad(_t(2, 3), [[1, 1]]), r"pad \(C1\): paddings \[\[1, 1\]\] must hold a pair .* the 2 axes"),
    (lambda: tf.pad(_t(2, 3), 5), r"pad \(C1\): paddings 5 must hold a pair"),
    (lambda: tf.pad(_t(2, 3), [[1, 1]] * 2, None), "pad .*mode 'NONE' is none of CONSTANT"),
    (lambda: tf.pad(_t(2), [[1, 1]], constant_values="a"), "pad .*constant_values must be a number.*not 'a'"),
    (lambda: tf.reshape(_t(2, 3), [4]), r"reshape \(C2\): 6 elements do not fill shape \[4\], which has 4"),
    (lambda: tf.reshape(_t(2, 3), None), r"reshape \(C1\): shape must be a list of whole numbers, not None"),
    (lambda: tf.reshape(_t(2, 3), [[2, 3]]), r"shape must be a list of whole numbers, not \[\[2, 3\]\]"),
    (lambda: tf.reshape(_t(None, 3), [None, 3]), r"shape must be a list of whole numbers, not \[None, 3\]"),
    (lambda: tf.reshape(_t(None, 3), [0, -1]), r"elements do not fill shape \[0, -1\]: no value fits for -1"),
    (lambda: tf.transpose(_t(2, 3), [0, 1, 2]),
     r"transpose \(C1\): perm \[0, 1, 2\] does not name each of the 2"),
    (lambda: tf.transpose(_t(2, 3), [0, 0]), r"perm \[0, 0\] does not name each of the 2 axes once"),
    (lambda: tf.transpose(_t(2, 3), 5), r"transpose \(C1\): perm must be a list of whole numbers, not 5"),
    (lambda: tf.strided_slice(_t(2, 3), [0, 0], [1]),
     r"begin \[0, 0\], end \[1\] and strides \[1, 1\] must be of"),
    (lambda: tf.slice(_t(2, 3), 0, [1, 1]), r"slice \(C1\): begin must be a list of whole numbers, not 0"),
    (lambda: _t(2)["a"], "a tensor is indexed by ints, slices, .*not by 'a'"),
    (lambda: tf.matmul(_t(2, 3), _t(2, 3)),
     r"matmul .*k is 3 in a but 2 in b.*hint: transpose_b=True would fit"),
    (lambda: tf.matmul(_t(2, 3), "a"), r"matmul: 'a' \(a str\) does not convert to a tensor"),
    (lambda: tf.matmul(_t(2, 3), None), "matmul: None is not a tensor"),
    (lambda: tf.tensordot(_t(2, 3), _t(4, 5), 1),
     r"tensordot: axes \[1\] of a and \[0\] of b must have equal dims"),
    (lambda: tf.constant([[1, 2], [3]]),
     r"constant: \[\[1, 2\], \[3\]\] does not .*: its rows differ in length"),
    (lambda: tf.cast(_t(2), "nope"), "'nope' is not a dtype that graphflow has"),
    (lambda: tf.cast(_t(2), None), "None is not a dtype that graphflow has"),
    (lambda: tf.nn.l2_normalize(_t(2, 3), 2), r"l2_normalize \(C3\): axis 2 is outside of \[-2, 2\)"),
    (lambda: tf.nn.leaky_relu(_t(2), "a"), "leaky_relu .*alpha must be a number.* not 'a'"),
    (lambda: tf.nn.dropout(_t(2), "a"), "dropout: keep_prob must be a number or a tensor of one, not 'a'"),
    (lambda: tf.nn.bias_add(_t(1, 2, 2, 3), _t(3), "NXHW"), "bias_add: data_format 'NXHW' is neither"),
    (lambda: tf.nn.conv2d(_x(channels=3), _f(), 1, "SAME"),
     r"conv2d \(C2\): there are 3 input channels.* take 4"),
    (lambda: tf.nn.conv2d(_t(2, 6, 8, 4), _f(), 1, "SAME", data_format="NCHW"),
     r"conv2d \(C2\): there are 6 input channels, in axis 1 by data_format 'NCHW', .*f32\[2,6,8,4\]"),
    (lambda: tf.nn.conv2d(_t(8, 8, 4), _f(), 1, "SAME"), r"conv2d \(C1\): x must have rank 4"),
    (lambda: tf.nn.conv2d(_t(2, 4, 8, 8), _f(), [1, 2, 2, 1], "SAME", data_format="NCHW"),
     r"conv2d: strides \[1, 2, 2, 1\] must be 1 for the batch and the channels, axes 0 and 1"),
    (lambda: tf.nn.max_pool(_x(), [1, 1, 2, 2], 1, "SAME"),
     r"max_pool: ksize \[1, 1, 2, 2\] .* axes 0 and 3"),
    (lambda: tf.nn.conv2d_transpose(_x(), _f(), [2, 16, 16, 5], 2),
     r"conv2d_transpose: output_shape \[2, 16, 16, 5\] asks for 5 channels, but the filters give 4"),
    (lambda: tf.nn.conv2d_transpose(_t(2, 4, 8, 8), _f(), [2, 6, 16, 4], 2, data_format="NCHW"),
     r"conv2d_transpose: output_shape \[2, 6, 16, 4\] asks for 6 channels, but the filters give 4"),
    (lambda: tf.nn.conv2d_transpose(_x(), _f(), [2, 17, 17, 4], 2), r"conv2d_transpose \(C7\)"),
    (lambda: tf.nn.conv2d(_t(2, 8, 8, 4, dtype=tf.int32), _f(), 1, "SAME"),
     r"conv2d: expected int32, got an array of shape \[3, 3, 4, 4\] of type float32")]


@pytest.mark.parametrize(("make", "text"), MISFITS, ids=[text[:30] for _, text in MISFITS])
def test_what_does_not_fit_is_told_when_the_graph_is_built(make, text):
    with pytest.raises(GraphflowError, match=rf"(?s){text}") as found:
        make()
    assert isinstance(found.value, (ShapeError, DTypeError)) and "test_bad_arguments.py:" in str(found.value)
