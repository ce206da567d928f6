"""One matrix product compiled alone, by LLVM without numba: operands in, result out."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from llvmlite import binding as llvm

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.entry import ATTRIBUTES
from graphflow.compiler.codegen.gemm.choose import Extents, choose
from graphflow.compiler.codegen.gemm.product import known
from graphflow.compiler.codegen.gemm.terms import Terms
from graphflow.compiler.codegen.kernel import emit_kernel
from graphflow.compiler.ir.dims import Dim, axis, sym
from graphflow.compiler.ir.dtypes import DType, bfloat16, float16, float32, int8, int32, uint8
from graphflow.compiler.loops.blocking import Blocking, Dots
from graphflow.compiler.loops.nest import LoopNest, Param, Product, Stmt
from graphflow.compiler.loops.view import View
from graphflow.compiler.target import Target
from graphflow.runtime.cpu import host_target
from graphflow.runtime.objects import optimize, target_machine

Array = np.ndarray[Any, Any]
MACHINE = Target(512, threads=1)
NARROW = ((bfloat16, bfloat16, float32), (float16, float16, float32), (int8, int8, int32),
          (uint8, int8, int32), (int8, uint8, int32), (uint8, uint8, int32))  # operands and sums


def machine(dots: bool, threads: int = 1) -> Target:
    """One with or without dot products of narrow operands; without where this CPU has none."""
    host = host_target()
    return replace(MACHINE, threads=threads, dots_bf16=dots and host.dots_bf16,
                   dots_int8=dots and host.dots_int8)


@dataclass(frozen=True)
class Case:
    """What to compile. Sizes of None are run-time integers; with a view, a is what it looks at.

    The kernel's buffers are p0 = a, p1 = b, p2 = out, p3 = scratch, and for the body those in `more`.
    `operands` are the dtypes of a and b, if not that of the sums.
    """

    dtype: DType
    m: int | None
    n: int | None
    k: int | None
    transpose_a: bool = False
    transpose_b: bool = False
    target: Target = MACHINE
    blocking: Blocking | Dots | None = None
    body: tuple[Stmt, ...] = ()
    more: tuple[tuple[str, DType], ...] = ()
    view: View | None = None
    operands: tuple[DType, DType] | None = None

    @property
    def terms(self) -> Terms:
        return Terms(*(self.operands or (self.dtype, self.dtype)), self.dtype)

    def product(self) -> tuple[Product, tuple[Any, ...]]:
        symbols = {name: sym(name) for name in "mnk" if getattr(self, name) is None}
        m, n, k = (symbols.get(name, getattr(self, name)) for name in "mnk")
        turned = self.transpose_a and m != 1  # as lowering has it
        extents = Extents(self.terms, known(m), known(n), known(k), turned, self.transpose_b, self.view)
        blocking = self.blocking or choose(extents, self.target)
        return Product("p2", "p0", "p1", 0, 0, 0, m, n, k, turned, self.transpose_b, self.dtype, blocking,
                       "p3", row_index(m), column_index(n), self.body, self.view), tuple(symbols)

    def compile(self) -> Runner:
        return Runner(self)


def row_index(m: Dim) -> Dim:
    return 0 if m == 1 else axis("i", m)


def column_index(n: Dim) -> Dim:
    return 0 if n == 1 else axis("j", n)


class Runner:
    """Call it with operands; it gives a new array, or what `run` wrote."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.product, self.symbols = case.product()
        d = case.dtype
        dtypes = (case.terms.a, case.terms.b, d, d)
        params = [*(Param(f"p{k}", t, k > 1) for k, t in enumerate(dtypes)),
                  *(Param(name, t, True) for name, t in case.more)]
        atoms = tuple(next(iter(sym(s).terms))[0] for s in self.symbols)
        width = case.target.vector_bits // (8 * d.size)
        nest = LoopNest(tuple(params), atoms, (self.product,), (), width, self.product.parts > 1)
        module = Module(case.target.vector_bits)
        kernel = emit_kernel(nest, "k0", module)
        signature = "ptr %frame, ptr %block" + (", i64 %begin, i64 %end" if nest.parallel else "")
        arguments = signature
        self.ir = "\n".join([module.text(), kernel, f"define void @run({signature}) {{",
                             f"call void @k0({arguments})", "ret void", "}", ATTRIBUTES, ""])
        self.parallel = nest.parallel
        assert self.product.blocking is not None
        self.scratch = aligned(self.product.blocking.scratch, d)
        self._compile()

    def _compile(self) -> None:
        machine = target_machine()
        module = llvm.parse_assembly(self.ir)
        optimize(module, machine)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        numbers = [ctypes.c_int64] * 2 if self.parallel else []
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, *numbers)(
            self._engine.get_function_address("run"))

    def __call__(self, a: Array, b: Array, parts: Sequence[int] = ()) -> Array:
        m = a.shape[1] if self.case.transpose_a else a.shape[0]
        n = b.shape[0] if self.case.transpose_b else b.shape[1]
        out = np.full((m, n), 111, self.case.dtype.numpy)
        k = a.shape[0] if self.case.transpose_a else a.shape[1]
        self.run([a.ctypes.data, b.ctypes.data, out.ctypes.data], {"m": m, "n": n, "k": k}, parts)
        return out

    def run(self, addresses: Sequence[int], sizes: dict[str, int], parts: Sequence[int] = ()) -> None:
        """Buffers a, b, out and those in `more`; `parts` are the ends of calls, if not one."""
        numbers = [*addresses[:3], self.scratch.ctypes.data, *addresses[3:],
                   *(sizes[s] for s in self.symbols)]
        count = self.product.parts
        block = np.array([*numbers, 0, count, 1], np.int64)
        if not self.parallel:
            self._run(None, block.ctypes.data)
            return
        begin = 0
        for end in parts or (count,):
            self._run(None, block.ctypes.data, begin, end)
            begin = end


def aligned(elements: int, dtype: DType) -> Array:
    """Memory that starts at a cache line, and holds what stands out: all that is read was written before."""
    raw = np.full(elements + 64, np.nan if dtype.is_floating else 111, dtype.numpy)
    skip = -(raw.ctypes.data // dtype.size) % (64 // dtype.size)
    return raw[skip:skip + elements]
