"""A Product statement as a call of a generated function."""

from __future__ import annotations

from graphflow.compiler.codegen.gemm.blocked import Shape, blocked_function
from graphflow.compiler.codegen.gemm.dots import dots_function
from graphflow.compiler.codegen.memory import MemoryOps
from graphflow.compiler.loops.blocking import Dots, tile_count
from graphflow.compiler.loops.nest import Product


def emit_product(kernel: MemoryOps, p: Product) -> None:
    """Call the function for the whole product; it is made once per module and shape class."""
    a, b, out = (f"ptr {kernel.address(name, p.dtype, kernel.dim(at))}" for name, at in (
        (p.a, p.a_offset), (p.b, p.b_offset), (p.out, p.out_offset)))
    m, n, k = (kernel.dim(d) for d in (p.m, p.n, p.k))
    lda, ldb = (m if p.transpose_a else k), (k if p.transpose_b else n)
    arguments = [a, f"i64 {lda}", b, f"i64 {ldb}", out, f"i64 {n}", f"i64 {m}", f"i64 {n}", f"i64 {k}"]
    blocking = p.blocking
    assert blocking is not None
    if isinstance(blocking, Dots):
        name = dots_function(kernel.em.module, p.dtype, blocking)
        arguments += ["i64 0", f"i64 {m}", "i64 0", f"i64 {n}"]
    else:
        shape = Shape(p.dtype, p.m if isinstance(p.m, int) else None, p.n if isinstance(p.n, int) else None,
                      p.transpose_a, p.transpose_b)
        name = blocked_function(kernel.em.module, shape, blocking)
        tiles, panels = (kernel.dim(tile_count(d, each)) for d, each in (
            (p.m, blocking.rows), (p.n, blocking.columns)))
        arguments += ["i64 0", f"i64 {tiles}", "i64 0", f"i64 {panels}",
                      f"ptr {f'%{p.scratch}' if p.scratch else 'null'}"]
    kernel.em.lines.append(f"call void @{name}({', '.join(arguments)})")
