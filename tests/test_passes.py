"""Every pass: the expected text, and equal values before and after."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as tf
from graphflow.compiler import oracle
from graphflow.compiler.ir.dims import Dim, atoms_of, axis, evaluate, sym
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.ir.text import parse_graph, print_graph
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops.interpret_nest import run_nest
from graphflow.compiler.loops.nest import Product, deepest_extents, nested
from graphflow.compiler.passes.check import sample_array
from graphflow.compiler.passes.cse import cse
from graphflow.compiler.passes.emit import describe_buffers
from graphflow.compiler.passes.expand import expand, expand_late
from graphflow.compiler.passes.fold import fold
from graphflow.compiler.passes.fuse import fuse
from graphflow.compiler.passes.layout import layout
from graphflow.compiler.passes.lower import lower
from graphflow.compiler.passes.lower_dtypes import lower_dtypes
from graphflow.compiler.passes.plan_memory import plan_memory
from graphflow.compiler.passes.prune import prune
from graphflow.compiler.passes.schedule import schedule
from graphflow.compiler.passes.simplify import simplify
from graphflow.compiler.pipeline import compile_signature
from graphflow.compiler.placement import place
from graphflow.compiler.signature import Signature, Undecided
from graphflow.compiler.target import Target

SIZE = 3  # the value of every run-time dim here

GRAPH_PASSES = [
    (expand, """graph(x: f32[n0,4]) -> %0
  %0 = softmax(x, axis=-1) : f32[n0,4]""", """graph(x: f32[n0,4]) -> %4
  %0 = reduce_max(x, axis=-1, keepdims=True) : f32[n0,1]
  %1 = sub(x, %0) : f32[n0,4]
  %2 = exp(%1) : f32[n0,4]
  %3 = reduce_sum(%2, axis=-1, keepdims=True) : f32[n0,1]
  %4 = truediv(%2, %3) : f32[n0,4]"""),
    (expand_late, """graph(x: f32[n0,5,5,2], w: f32[1,1,2,3]) -> %0
  %0 = convolution(x, w, strides=(1, 1), padding='SAME', dilations=(1, 1), groups=1, called='') \
: f32[n0,5,5,3]""",
     """graph(x: f32[n0,5,5,2], w: f32[1,1,2,3]) -> %3
  %0 = reshape(x, shape=(25*n0, 2)) : f32[25*n0,2]
  %1 = reshape(w, shape=(2, 3)) : f32[2,3]
  %2 = matmul(%0, %1, transpose_a=False, transpose_b=False) : f32[25*n0,3]
  %3 = reshape(%2, shape=(n0, 5, 5, 3)) : f32[n0,5,5,3]"""),
    (fold, """graph(x: f32[n0,4]) -> %4
  %0 = constant(value=[2.0, 8.0]) : f32[2]
  %1 = reduce_sum(%0, keepdims=False) : f32[]
  %2 = constant(value=6.0) : f32[]
  %3 = add(%1, %2) : f32[]
  %4 = mul(x, %3) : f32[n0,4]""", """graph(x: f32[n0,4]) -> %1
  %0 = constant(value=16.0) : f32[]
  %1 = mul(x, %0) : f32[n0,4]"""),
    (simplify, """graph(x: f32[n0,4], w: f32[5,4]) -> %5
  %0 = constant(value=1.0) : f32[]
  %1 = mul(x, %0) : f32[n0,4]
  %2 = transpose(w, perm=(1, 0)) : f32[4,5]
  %3 = matmul(%1, %2, transpose_a=False, transpose_b=False) : f32[n0,5]
  %4 = constant(value=2.0) : f32[]
  %5 = pow(%3, %4) : f32[n0,5]""", """graph(x: f32[n0,4], w: f32[5,4]) -> %1
  %0 = matmul(x, w, transpose_a=False, transpose_b=True) : f32[n0,5]
  %1 = square(%0) : f32[n0,5]"""),
    (simplify, """graph(x: f32[n0,1], y: f32[4,1], z: i8[1,4]) -> %0, %2
  %0 = matmul(x, y, transpose_a=False, transpose_b=True) : f32[n0,4]
  %1 = cast(x, dtype=i8) : i8[n0,1]
  %2 = matmul(%1, z, transpose_a=False, transpose_b=False, output_type=i32) : i32[n0,4]""",
     """graph(x: f32[n0,1], y: f32[4,1], z: i8[1,4]) -> %1, %3
  %0 = transpose(y, perm=(1, 0)) : f32[1,4]
  %1 = mul(x, %0) : f32[n0,4]
  %2 = cast(x, dtype=i8) : i8[n0,1]
  %3 = matmul(%2, z, transpose_a=False, transpose_b=False, output_type=i32) : i32[n0,4]"""),
    (simplify, """graph(x: f32[n0,4], w: i8[4,5], v: i32[5,4]) -> %1, %3
  %0 = cast(w, dtype=f32) : f32[4,5]
  %1 = matmul(x, %0, transpose_a=False, transpose_b=False) : f32[n0,5]
  %2 = cast(v, dtype=f32) : f32[5,4]
  %3 = matmul(%1, %2, transpose_a=False, transpose_b=False) : f32[n0,4]""",
     """graph(x: f32[n0,4], w: i8[4,5], v: i32[5,4]) -> %0, %2
  %0 = matmul(x, w, transpose_a=False, transpose_b=False, output_type=f32) : f32[n0,5]
  %1 = cast(v, dtype=f32) : f32[5,4]
  %2 = matmul(%0, %1, transpose_a=False, transpose_b=False) : f32[n0,4]"""),
    (layout, """graph(y: f32[n0,5,6,4], z: f32[n0,5,6,4], b: f32[4]) -> %9, %10
  %0 = transpose(y, perm=(0, 3, 1, 2)) : f32[n0,4,5,6]
  %1 = reshape(b, shape=(4, 1, 1)) : f32[4,1,1]
  %2 = add(%0, %1) : f32[n0,4,5,6]
  %3 = relu(%2) : f32[n0,4,5,6]
  %4 = transpose(z, perm=(0, 3, 1, 2)) : f32[n0,4,5,6]
  %5 = concat(%3, %4, axis=1) : f32[n0,8,5,6]
  %6 = reduce_max(%5, axis=(1,), keepdims=True) : f32[n0,1,5,6]
  %7 = sub(%5, %6) : f32[n0,8,5,6]
  %8 = tile(%7, multiples=(1, 1, 2, 3)) : f32[n0,8,10,18]
  %9 = transpose(%8, perm=(0, 2, 3, 1)) : f32[n0,10,18,8]
  %10 = reduce_sum(%8, axis=(2, 3), keepdims=False) : f32[n0,8]""",
     """graph(y: f32[n0,5,6,4], z: f32[n0,5,6,4], b: f32[4]) -> %7, %8
  %0 = reshape(b, shape=(4, 1, 1)) : f32[4,1,1]
  %1 = reshape(%0, shape=(4,)) : f32[4]
  %2 = add(y, %1) : f32[n0,5,6,4]
  %3 = relu(%2) : f32[n0,5,6,4]
  %4 = concat(%3, z, axis=3) : f32[n0,5,6,8]
  %5 = reduce_max(%4, axis=(3,), keepdims=True) : f32[n0,5,6,1]
  %6 = sub(%4, %5) : f32[n0,5,6,8]
  %7 = tile(%6, multiples=(1, 2, 3, 1)) : f32[n0,10,18,8]
  %8 = reduce_sum(%7, axis=(1, 2), keepdims=False) : f32[n0,8]"""),
    (layout, """graph(x: f32[6,4], y: f32[6,4], z: f32[4,6]) -> %2, %4
  %0 = add(x, y) : f32[6,4]
  %1 = transpose(%0, perm=(1, 0)) : f32[4,6]
  %2 = mul(%1, z) : f32[4,6]
  %3 = transpose(x, perm=(1, 0)) : f32[4,6]
  %4 = reduce_sum(%3, axis=(0,), keepdims=False) : f32[6]""",
     """graph(x: f32[6,4], y: f32[6,4], z: f32[4,6]) -> %2, %3
  %0 = add(x, y) : f32[6,4]
  %1 = transpose(%0, perm=(1, 0)) : f32[4,6]
  %2 = mul(%1, z) : f32[4,6]
  %3 = reduce_sum(x, axis=(1,), keepdims=False) : f32[6]"""),
    (layout, """graph(x: f32[6,4], w: f32[6,5]) -> %2
  %0 = transpose(x, perm=(1, 0)) : f32[4,6]
  %1 = relu(%0) : f32[4,6]
  %2 = matmul(%1, w, transpose_a=False, transpose_b=False) : f32[4,5]""",
     """graph(x: f32[6,4], w: f32[6,5]) -> %2
  %0 = relu(x) : f32[6,4]
  %1 = transpose(%0, perm=(1, 0)) : f32[4,6]
  %2 = matmul(%1, w, transpose_a=False, transpose_b=False) : f32[4,5]"""),
    (cse, """graph(x: f32[n0]) -> %2
  %0 = exp(x) : f32[n0]
  %1 = exp(x) : f32[n0]
  %2 = add(%0, %1) : f32[n0]""", """graph(x: f32[n0]) -> %1
  %0 = exp(x) : f32[n0]
  %1 = add(%0, %0) : f32[n0]"""),
    (lower_dtypes, """graph(x: f16[4], y: f16[4]) -> %0
  %0 = add(x, y) : f16[4]""", """graph(x: f16[4], y: f16[4]) -> %3
  %0 = cast(x, dtype=f32) : f32[4]
  %1 = cast(y, dtype=f32) : f32[4]
  %2 = add(%0, %1) : f32[4]
  %3 = cast(%2, dtype=f16) : f16[4]"""),
]


def known(dim: Dim) -> int:
    return evaluate(dim, dict.fromkeys(atoms_of(dim), SIZE))


def inputs_of(graph):
    rng = np.random.default_rng(0)
    return [sample_array(t.dtype, [known(d) for d in t.type.known_dims], rng) for t in graph.inputs]


def oracle_values(graph, arrays):
    dims = [d for op in graph.operations for t in op.outputs for d in t.type.known_dims]
    symbols = {a: SIZE for d in dims for a in atoms_of(d)}
    return oracle.run(graph.outputs, dict(zip(graph.inputs, arrays, strict=True)), symbols=symbols)


@pytest.mark.parametrize("run_pass, before, after", GRAPH_PASSES, ids=lambda p: getattr(p, "__name__", ""))
def test_graph_pass(run_pass, before, after):
    graph = parse_graph(before)
    result = run_pass(graph)
    # the last walk over the graph leaves what fell out of use; the next pass does not carry it on
    text = print_graph(cse(result), sources=False)
    assert text == after
    assert print_graph(graph, sources=False) == before, "a pass never changes the graph it is given"
    arrays = inputs_of(graph)
    for a, b in zip(oracle_values(graph, arrays), oracle_values(result, arrays), strict=True):
        np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), rtol=1e-3)


NESTS = [
    ("elementwise", """graph(x: f32[n0,10]) -> %3
  %0 = constant(value=2.0) : f32[]
  %1 = mul(x, %0) : f32[n0,10]
  %2 = constant(value=1.0) : f32[]
  %3 = add(%1, %2) : f32[n0,10]""", """kernel(p0: f32, p1: out f32, n0)
  for i0 < n0:
    for i1 < 10:
      t1 = mul(p0[10*i0+i1], 2.0)
      t2 = add(t1, 1.0)
      p1[10*i0+i1] = t2""", """parallel kernel(p0: f32, p1: out f32, n0)
  vector for i0 < 10*n0:
    t1 = mul(p0[i0], 2.0)
    t2 = add(t1, 1.0)
    p1[i0] = t2""", """  b0: feed f32[10*n0]
  b1: output f32[10*n0]"""),
    ("softmax", """graph(x: f32[n0,100]) -> %4
  %0 = reduce_max(x, axis=(1,), keepdims=True) : f32[n0,1]
  %1 = sub(x, %0) : f32[n0,100]
  %2 = exp(%1) : f32[n0,100]
  %3 = reduce_sum(%2, axis=(1,), keepdims=True) : f32[n0,1]
  %4 = truediv(%2, %3) : f32[n0,100]""", """kernel(p0: f32, p1: out f32, p2: out f32, n0)
  for i0 < n0:
    for i1 < 100, r1_1 max= p0[100*i0+i1]:
    for i1 < 100, r4_1 add= t3:
      t2 = sub(p0[100*i0+i1], r1_1)
      t3 = exp(t2)
      p1[i1+100*part] = t3
    for i1 < 100:
      t5 = div(p1[i1+100*part], r4_1)
      p2[100*i0+i1] = t5""", """parallel kernel(p0: f32, p1: out f32, p2: out f32, n0)
  for i0 < n0:
    vector for i1 < 100, r1_1 max= p0[100*i0+i1]:
    vector for i1 < 100, r4_1 add= t3:
      t2 = sub(p0[100*i0+i1], r1_1)
      t3 = exp(t2)
      p1[i1+100*part] = t3
    vector for i1 < 100:
      t5 = div(p1[i1+100*part], r4_1)
      p2[100*i0+i1] = t5""", """  b0: feed f32[100*n0]
  b1: arena f32[6400] live 0-0
  b2: output f32[100*n0]"""),
    ("column sums", """graph(x: f32[n0,100]) -> %1
  %0 = square(x) : f32[n0,100]
  %1 = reduce_sum(%0, axis=(0,), keepdims=False) : f32[100]""", """kernel(p0: f32, p1: out f32, n0)
  for i1 < 100:
    for i0 < n0, r2_1 add= t1:
      t1 = mul(p0[100*i0+i1], p0[100*i0+i1])
    p1[i1] = r2_1""", """parallel kernel(p0: f32, p1: out f32, n0)
  vector for i1 < 100:
    for i0 < n0, r2_1 add= t1:
      t1 = mul(p0[100*i0+i1], p0[100*i0+i1])
    p1[i1] = r2_1""", """  b0: feed f32[100*n0]
  b1: output f32[100]"""),
    ("a view costs nothing", """graph(x: f32[6,4]) -> %2
  %0 = neg(x) : f32[6,4]
  %1 = transpose(%0, perm=(1, 0)) : f32[4,6]
  %2 = exp(%1) : f32[4,6]""", """kernel(p0: f32, p1: out f32)
  for i0 < 4:
    for i1 < 6:
      t1 = neg(p0[i0+4*i1])
      t2 = exp(t1)
      p1[6*i0+i1] = t2""", """kernel(p0: f32, p1: out f32)
  for i0 < 4:
    vector for i1 < 6:
      t1 = neg(p0[i0+4*i1])
      t2 = exp(t1)
      p1[6*i0+i1] = t2""", """  b0: feed f32[24]
  b1: output f32[24]"""),
    ("a transposition takes all of a line at once", """graph(x: f32[32,256]) -> %1
  %0 = neg(x) : f32[32,256]
  %1 = transpose(%0, perm=(1, 0)) : f32[256,32]""", """kernel(p0: f32, p1: out f32)
  for i0 < 256:
    for i1 < 32:
      t1 = neg(p0[i0+256*i1])
      p1[32*i0+i1] = t1""", """kernel(p0: f32, p1: out f32)
  for i0j < 32:
    vector for i1 < 32:
      t1_0 = neg(p0[8*i0j+256*i1])
      p1[256*i0j+i1] = t1_0
      t1_1 = neg(p0[8*i0j+256*i1+1])
      p1[256*i0j+i1+32] = t1_1
      t1_2 = neg(p0[8*i0j+256*i1+2])
      p1[256*i0j+i1+64] = t1_2
      t1_3 = neg(p0[8*i0j+256*i1+3])
      p1[256*i0j+i1+96] = t1_3
      t1_4 = neg(p0[8*i0j+256*i1+4])
      p1[256*i0j+i1+128] = t1_4
      t1_5 = neg(p0[8*i0j+256*i1+5])
      p1[256*i0j+i1+160] = t1_5
      t1_6 = neg(p0[8*i0j+256*i1+6])
      p1[256*i0j+i1+192] = t1_6
      t1_7 = neg(p0[8*i0j+256*i1+7])
      p1[256*i0j+i1+224] = t1_7""", """  b0: feed f32[8192]
  b1: output f32[8192]"""),
    ("what is cheap to compute again is not kept", """graph(x: f32[8,100]) -> %4
  %0 = block_sum(x, leading=1, length=8) : f32[1,100]
  %1 = sub(x, %0) : f32[8,100]
  %2 = square(%1) : f32[8,100]
  %3 = block_sum(%2, leading=1, length=8) : f32[1,100]
  %4 = mul(%1, %3) : f32[8,100]""",
     """kernel(p0: f32, p1: out f32)
  for z < 100:
    p1[z] = 0.0
  for i0 < 8:
    for i1 < 100:
      t1 = p0[100*i0+i1]
      p1[i1] += t1
kernel(p0: f32, p1: f32, p2: out f32)
  for z < 100:
    p2[z] = 0.0
  for i0 < 8:
    for i1 < 100:
      t1 = sub(p0[100*i0+i1], p1[i1])
      t2 = mul(t1, t1)
      p2[i1] += t2
kernel(p0: f32, p1: f32, p2: f32, p3: out f32)
  for i0 < 8:
    for i1 < 100:
      t1 = sub(p0[100*i0+i1], p1[i1])
      t2 = mul(t1, p2[i1])
      p3[100*i0+i1] = t2""", """kernel(p0: f32, p1: out f32)
  vector for z < 100:
    p1[z] = 0.0
  for i0j < 2:
    vector for i1 < 100:
      t1_0 = p0[400*i0j+i1]
      t1_1 = p0[400*i0j+i1+100]
      t1_2 = p0[400*i0j+i1+200]
      t1_3 = p0[400*i0j+i1+300]
      p1[i1] += add(add(add(t1_0, t1_1), t1_2), t1_3)
kernel(p0: f32, p1: f32, p2: out f32)
  vector for z < 100:
    p2[z] = 0.0
  for i0j < 2:
    vector for i1 < 100:
      t1_0 = sub(p0[400*i0j+i1], p1[i1])
      t2_0 = mul(t1_0, t1_0)
      t1_1 = sub(p0[400*i0j+i1+100], p1[i1])
      t2_1 = mul(t1_1, t1_1)
      t1_2 = sub(p0[400*i0j+i1+200], p1[i1])
      t2_2 = mul(t1_2, t1_2)
      t1_3 = sub(p0[400*i0j+i1+300], p1[i1])
      t2_3 = mul(t1_3, t1_3)
      p2[i1] += add(add(add(t2_0, t2_1), t2_2), t2_3)
kernel(p0: f32, p1: f32, p2: f32, p3: out f32)
  for i0 < 8:
    vector for i1 < 100:
      t1 = sub(p0[100*i0+i1], p1[i1])
      t2 = mul(t1, p2[i1])
      p3[100*i0+i1] = t2""", """  b0: feed f32[800]
  b1: arena f32[100] live 0-2
  b2: arena f32[100] live 1-2
  b3: output f32[800]"""),
    ("vectors follow what is accessed most",
     """graph(x: f32[n0,8,100], a: f32[8,1], b: f32[8,1], c: f32[8,1], d: f32[8,1]) -> %3
  %0 = mul(x, a) : f32[n0,8,100]
  %1 = add(%0, b) : f32[n0,8,100]
  %2 = maximum(%1, c) : f32[n0,8,100]
  %3 = mul(%2, d) : f32[n0,8,100]""",
     """kernel(p0: f32, p1: f32, p2: f32, p3: f32, p4: f32, p5: out f32, n0)
  for i0 < n0:
    for i1 < 8:
      for i2 < 100:
        t1 = mul(p0[800*i0+100*i1+i2], p1[i1])
        t2 = add(t1, p2[i1])
        t3 = max(t2, p3[i1])
        t4 = mul(t3, p4[i1])
        p5[800*i0+100*i1+i2] = t4""",
     """parallel kernel(p0: f32, p1: f32, p2: f32, p3: f32, p4: f32, p5: out f32, n0)
  for i0 < n0:
    for i1 < 8:
      vector for i2 < 100:
        t1 = mul(p0[800*i0+100*i1+i2], p1[i1])
        t2 = add(t1, p2[i1])
        t3 = max(t2, p3[i1])
        t4 = mul(t3, p4[i1])
        p5[800*i0+100*i1+i2] = t4""", """  b0: feed f32[800*n0]
  b1: feed f32[8]
  b2: feed f32[8]
  b3: feed f32[8]
  b4: feed f32[8]
  b5: output f32[800*n0]"""),
    ("batched product", """graph(x: f32[n0,7,8], w: f32[8,5], b: f32[5]) -> %2
  %0 = matmul(x, w, transpose_a=False, transpose_b=False) : f32[n0,7,5]
  %1 = add(%0, b) : f32[n0,7,5]
  %2 = relu(%1) : f32[n0,7,5]""", """kernel(p0: f32, p1: out f32, p2: f32, p3: f32, n0)
  for i1 < 7*n0, i2 < 5: sum = p2[0:] @ p3[0:]  (k = 8)
    t1 = add(sum, p0[i2])
    t2 = max(t1, 0.0)
    p1[5*i1+i2] = t2""", """kernel(p0: f32, p1: out f32, p2: f32, p3: f32, n0)
  for i1 < 7*n0, i2 < 5: sum = p2[0:] @ p3[0:]  (k = 8)
    t1 = add(sum, p0[i2])
    t2 = max(t1, 0.0)
    p1[5*i1+i2] = t2""", """  b0: feed f32[56*n0]
  b1: feed f32[40]
  b2: feed f32[5]
  b3: output f32[35*n0]"""),
]


@pytest.mark.parametrize("text, lowered, scheduled, buffers", [n[1:] for n in NESTS],
                         ids=[n[0] for n in NESTS])
def test_fuse_lower_schedule_and_plan(text, lowered, scheduled, buffers):
    graph = parse_graph(text)
    grouping = fuse(graph)
    launches = lower(grouping, Target(512))
    assert "\n".join(str(launch.nest) for launch in launches) == lowered
    nests = [schedule(launch.nest, 512) for launch in launches]
    assert "\n".join(map(str, nests)) == scheduled
    plan = plan_memory(grouping.graph, launches)
    assert describe_buffers(plan.buffers) == buffers
    arrays = inputs_of(graph)
    expected = oracle_values(graph, arrays)
    for variant in ([launch.nest for launch in launches], nests):
        memory = [np.zeros(known(b.size), b.dtype.numpy) for b in plan.buffers]
        for b, array in zip(plan.buffers, arrays, strict=False):
            memory[b.index][:] = array.ravel()
        for nest, numbers in zip(variant, plan.arguments, strict=True):
            assert not run_nest(nest, [memory[k] for k in numbers], dict.fromkeys(nest.symbols, SIZE))
        output = next(k for k, b in enumerate(plan.buffers) if b.role == "output")
        np.testing.assert_allclose(memory[output], expected[0].ravel(), rtol=1e-5)


def test_prune():
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        w = tf.Variable(tf.ones([4]), name="w")
        tf.exp(x)  # nothing needs it
        loss = tf.reduce_sum(x * w)
        step = tf.assign_sub(w, 0.5 * w)
        pruned = prune(Signature((loss,), (step.op,), (x,), (TensorType(x.dtype, (*_symbols("n0"), 4)),)))
    assert print_graph(pruned.graph, sources=False) == """graph(x: f32[n0,4], w: f32[4]) -> %1 ; w := %4
  %0 = mul(x, w) : f32[n0,4]
  %1 = reduce_sum(%0, keepdims=False) : f32[]
  %2 = constant(value=0.5) : f32[]
  %3 = mul(%2, w) : f32[4]
  %4 = sub(w, %3) : f32[4]"""


def _symbols(*names):
    return tuple(sym(n) for n in names)


def test_prune_takes_dims_that_must_fit_for_equal():
    with tf.Graph().as_default():
        x, y = tf.placeholder(tf.float32, [None]), tf.placeholder(tf.float32, [None])
        z = tf.concat([x, y], 0)
        n0, n1 = _symbols("n0", "n1")
        types = (TensorType(x.dtype, (n0,)), TensorType(y.dtype, (n1,)))
        pruned = prune(Signature((x + y,), (), (x, y), types))
        assert pruned.graph.outputs[0].type.dims == (n0,) and pruned.guards == [(n1, n0)]
        with pytest.raises(Undecided):
            prune(Signature((z * tf.concat([z, z], 0)[1:],), (), (x, y), types))


def test_emit():
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [16], name="x")
        signature = Signature((x * 2.0,), (), (x,), (TensorType(x.dtype, (16,)),))
        program = compile_signature(signature, Target(512))
    assert """define internal void @k0(ptr %frame, ptr %block) #0 {
entry:
%p0.at = getelementptr i64, ptr %block, i64 0
%p0 = load ptr, ptr %p0.at, align 8
%p1.at = getelementptr i64, ptr %block, i64 1
%p1 = load ptr, ptr %p1.at, align 8
%check.at = getelementptr i64, ptr %block, i64 2
%check = load i64, ptr %check.at, align 8
br label %loop1
loop1:
%v1 = phi i64 [0, %entry], [%v2, %loop1]
%v3 = getelementptr float, ptr %p0, i64 %v1
%v4 = freeze ptr %v3
%v5 = load <16 x float>, ptr %v4, align 4
%v6 = fmul contract <16 x float> %v5, splat (float 0x4000000000000000)
%v7 = getelementptr float, ptr %p1, i64 %v1
%v8 = freeze ptr %v7
store <16 x float> %v6, ptr %v8, align 4
%v2 = add nuw nsw i64 %v1, 16
%v9 = icmp slt i64 %v2, 16
br i1 %v9, label %loop1, label %done2
done2:
ret void
}""" in program.ir


def test_elements_at_constant_distances_share_a_base():
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [18], name="x")
        signature = Signature((x[:16] - x[1:17] * x[2:],), (), (x,), (TensorType(x.dtype, (18,)),))
        ir = compile_signature(signature, Target(512)).ir
    assert ir.count("freeze ptr") == 2 and ir.count("load <16 x float>") == 3
    assert "%v5 = getelementptr float, ptr %v4, i64 1\n" in ir


def test_the_work_of_equal_products_in_two_loops_is_that_of_one():
    def product() -> Product:
        return Product("p2", "p0", "p1", 0, 0, 0, 5, 6, 7, False, False, float32)

    loops = [loop for i in (axis("i", 2), axis("j", 3)) for loop in nested([product()], (i,))]
    assert deepest_extents(tuple(nested(loops, (axis("z", 4),)))) == (4, 2, 5, 6, 7)


def test_place_never_overlaps_what_is_alive_together():
    rng = np.random.default_rng(0)
    for _ in range(30):
        count = int(rng.integers(1, 40))
        sizes = [int(s) for s in rng.integers(0, 5000, count)]
        starts = rng.integers(0, 30, count)
        lives = [(int(a), int(a + d)) for a, d in zip(starts, rng.integers(0, 10, count), strict=True)]
        offsets, total = place(sizes, lives)
        for i in range(count):
            assert offsets[i] % 64 == 0 and offsets[i] + sizes[i] <= total
            for j in range(i):
                together = lives[i][0] <= lives[j][1] and lives[j][0] <= lives[i][1]
                apart = offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
                assert not together or apart
    chain = [(k, k + 1) for k in range(50)]
    assert place([6400] * 50, chain)[1] == 2 * 6400, "a chain needs two buffers"
