"""A Product statement as a call of a generated function."""

from __future__ import annotations

from dataclasses import replace

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.gemm.blocked import BlockedBuilder, blocked_function
from graphflow.compiler.codegen.gemm.by_rows import by_rows_function
from graphflow.compiler.codegen.gemm.chunks import chunks_function
from graphflow.compiler.codegen.gemm.dots import dots_function
from graphflow.compiler.codegen.gemm.few_rows import few_rows_function
from graphflow.compiler.codegen.gemm.finish import Finish, finish_of
from graphflow.compiler.codegen.gemm.parts import Shape
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.codegen.gemm.windows import ViewBuilder
from graphflow.compiler.codegen.memory import MemoryOps
from graphflow.compiler.ir.dims import Dim
from graphflow.compiler.loops.blocking import ByRows, Chunks, Dots, FewRows, Form
from graphflow.compiler.loops.nest import Product


def emit_product(kernel: MemoryOps, p: Product, key: str, in_parts: bool) -> None:
    """Compute a product in the kernel named `key`: all of it, or its parts %begin to %end."""
    assert p.blocking is not None
    finish = finish_of(p, kernel.nest, key, kernel.axes)
    dtypes = {param.name: param.dtype for param in kernel.nest.params}
    a, b, out = (f"ptr {kernel.address(name, dtypes[name], kernel.dim(at))}" if name else "ptr null"
                 for name, at in ((p.a, p.a_offset), (p.b, p.b_offset), (p.out, p.out_offset)))
    m, n, k = (kernel.dim(d) for d in (p.m, p.n, p.k))
    lda, ldb = (m if p.transpose_a else k), (k if p.transpose_b else n)
    parts = ["i64 %begin", "i64 %end"] if in_parts else ["i64 0", f"i64 {p.parts}"]
    done = ["ptr %done" if in_parts else "ptr null"] if isinstance(p.blocking, Chunks) else []
    room = kernel.dim(p.scratch_offset)
    scratch = f"ptr {kernel.address(p.scratch, p.dtype, room)}" if p.scratch else "ptr null"
    module = kernel.em.module
    terms = Terms(dtypes[p.a], dtypes[p.b], p.dtype, p.blocking.group)
    shape = Shape(terms, known(p.m), known(p.n), known(p.k), p.transpose_a, p.transpose_b, p.view,
                  p.add)
    name = product_function(module, shape, p.blocking, finish)
    arguments = [a, f"i64 {lda}", b, f"i64 {ldb}", out, f"i64 {n}", f"i64 {m}", f"i64 {n}", f"i64 {k}",
                 *parts, scratch, *done, *(finish.arguments(kernel.axes) if finish else ())]
    kernel.em.lines.append(f"call void @{name}({', '.join(arguments)})")


def product_function(module: Module, shape: Shape, form: Form, finish: Finish | None) -> str:
    """The name of the function for parts of a product, see parts.PARAMS; of chunks, see chunks.DONE."""
    if isinstance(form, Chunks):
        each = product_function(module, replace(shape, k=None), form.each, None)
        return chunks_function(module, shape, form, finish, each)
    if isinstance(form, ByRows):
        few, many = (product_function(module, shape, each, finish) for each in (form.few, form.many))
        return by_rows_function(module, shape, form, finish, few, many)
    if isinstance(form, FewRows):
        return few_rows_function(module, shape, form, finish)
    if isinstance(form, Dots):
        return dots_function(module, shape, form, finish)
    builder = ViewBuilder if shape.view else BlockedBuilder
    return blocked_function(module, shape, form, finish, builder)


def known(d: Dim) -> int | None:
    """A dim's number, None for one that only the run tells."""
    return d if isinstance(d, int) else None
