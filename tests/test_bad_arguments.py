"""Senseless arguments of convolutions and pooling: our own error, with the call and the user's line."""

from __future__ import annotations

import numpy as np
import pytest
from fresh import graph  # noqa: F401

import graphflow as tf
from graphflow.compiler.errors import ShapeError, UnsupportedError

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
