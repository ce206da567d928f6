"""Promises of modules compiled in parts: the same code, whatever the number of parts."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from fresh import graph, session  # noqa: F401

import graphflow as tf
from graphflow.compiler.codegen.split import split_module
from graphflow.runtime import loader, objects

IR = """@table0 = private unnamed_addr constant [2 x i64] [i64 5, i64 7]
define internal i64 @small(i64 %x) #1 {
%y = add i64 %x, 1
ret i64 %y
}
define internal i64 @f(i64 %x) noinline #0 {
%at = getelementptr i64, ptr @table0, i64 %x
%y = load i64, ptr %at, align 8
%z = call i64 @small(i64 %y)
ret i64 %z
}
define internal i64 @apply(ptr %f, i64 %x) #0 {
%y = call i64 %f(i64 %x)
%z = call i64 @small(i64 %y)
ret i64 %z
}
define i64 @entry(i64 %x) #0 {
%y = call i64 @apply(ptr @f, i64 %x)
ret i64 %y
}
declare i64 @unused(i64)
attributes #0 = { nounwind }
attributes #1 = { nounwind alwaysinline }
"""
LINKED = pytest.mark.skipif(not loader.is_native(), reason="LLVM links one object")


@pytest.fixture
def in_parts(monkeypatch):
    def use(parts):
        monkeypatch.setattr(objects, "_PART", 1)
        monkeypatch.setattr(objects, "usable_cores", lambda: parts)
    return use


def test_each_function_is_in_one_part_with_what_it_needs():
    first, second = split_module(IR, 2)
    assert first == """define hidden i64 @f(i64 %x) noinline #0 {
%at = getelementptr i64, ptr @table0, i64 %x
%y = load i64, ptr %at, align 8
%z = call i64 @small(i64 %y)
ret i64 %z
}
@table0 = private unnamed_addr constant [2 x i64] [i64 5, i64 7]
define internal i64 @small(i64 %x) #1 {
%y = add i64 %x, 1
ret i64 %y
}
attributes #0 = { nounwind }
attributes #1 = { nounwind alwaysinline }
"""
    assert "define internal i64 @apply" in second and "define i64 @entry" in second
    assert "declare hidden i64 @f(i64 %x) noinline #0\n" in second and "@table0" not in second


@LINKED
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_functions_of_other_parts_are_found(parts, in_parts):
    in_parts(parts)
    code = loader.load(objects.compile_object(IR), "entry")
    assert [ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(code.address)(k) for k in (0, 1)] == [7, 9]


@LINKED
def test_a_damaged_object_of_several_is_refused(in_parts):
    in_parts(2)
    image = objects.compile_object(IR)
    for bad in (image[:-1], image + b"\x7fELF", image[:len(image) // 2]):
        with pytest.raises(loader.UnlinkableError):
            loader.load(bad, "entry")


@LINKED
@pytest.mark.parametrize("wrong", ["@small(i64 %q)", "@nowhere(i64 %y)"])
def test_an_error_in_any_part_is_raised(wrong, in_parts):
    in_parts(4)
    with pytest.raises(RuntimeError, match=r"LLVM: .*(%q|@nowhere)"):
        objects.compile_object(IR.replace("@small(i64 %y)", wrong))


@LINKED
def test_parts_compile_without_threads(in_parts, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    in_parts(3)
    want = objects.compile_object(IR)
    monkeypatch.setattr("threading.Thread.start", refuse)
    assert objects.compile_object(IR) == want


@pytest.mark.parametrize("parts", [2, 5])
def test_results_are_the_same_to_the_bit(parts, in_parts, monkeypatch):
    monkeypatch.setenv("GRAPHFLOW_CACHE", "0")
    x = tf.placeholder(tf.float32, [None, 24])
    w = tf.Variable(np.sin(np.arange(24 * 40)).reshape(24, 40).astype(np.float32))
    loss = tf.reduce_mean(tf.nn.softmax(tf.tanh(tf.matmul(x, w))) ** 2)
    fetches, value = [loss, *tf.gradients(loss, [w])], np.cos(np.arange(24 * 70)).reshape(70, 24)
    sess = session()
    sess.run(tf.global_variables_initializer())
    want = sess.run(fetches, {x: value})
    in_parts(parts)
    other = session()
    other.run(tf.global_variables_initializer())
    for got, wanted in zip(other.run(fetches, {x: value}), want, strict=True):
        np.testing.assert_array_equal(got, wanted)
