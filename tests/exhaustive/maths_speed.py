"""Time of each mathematical function in a kernel, against numpy's or scipy's, on one core.

    cd tests; python -m exhaustive.maths_speed [--avx2] [--dtype float32] [function ...]

Nanoseconds an element over 16384 numbers, which stay in the cache; the least of many runs, ours and theirs in
turn. Above 1 the last column says how many times as long theirs takes. With --avx2 neither uses AVX-512.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from exhaustive.native import Array
from exhaustive.reference import BINARY, WIDE
from llvmlite import binding as llvm

from graphflow.compiler.codegen.emitter import Module
from graphflow.compiler.codegen.entry import ATTRIBUTES
from graphflow.compiler.codegen.kernel import emit_kernel
from graphflow.compiler.ir.dims import axis, single_atom
from graphflow.compiler.ir.dtypes import DType, float32, float64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.nest import Loop, LoopNest, Param, Store
from graphflow.compiler.passes.schedule import schedule
from graphflow.runtime import cpu
from graphflow.runtime.objects import optimize, target_machine

COUNT = 1 << 14
SECONDS = 0.3  # for a function
RANGES = {"acosh": (1.0, 50.0), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "atanh": (-1.0, 1.0),
          "erfinv": (-1.0, 1.0), "ndtri": (0.0, 1.0), "log": (0.0, 100.0), "log2": (0.0, 100.0),
          "log1p": (-0.9, 100.0), "rsqrt": (0.1, 100.0), "lgamma": (0.1, 20.0), "digamma": (0.1, 20.0),
          "pow": (0.1, 20.0)}
_NO_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL"
_HASWELL = "+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+popcnt,+movbe"


def kernel_ir(name: str, dtype: DType, arity: int, bits: int) -> str:
    """`run(frame, block)`: a loop over COUNT numbers as programs have it."""
    i = axis("i", COUNT)
    atom = single_atom(i)
    assert atom is not None
    value = E.call(name, *(E.load(f"p{k}", i, dtype) for k in range(arity)))
    loop = Loop(atom, COUNT, (Store("out", i, value),))
    params = (*(Param(f"p{k}", dtype, False) for k in range(arity)), Param("out", dtype, True))
    nest = replace(schedule(LoopNest(params, (), (loop,), ()), bits), parallel=False)
    module = Module(bits)
    kernel = emit_kernel(nest, "k0", module)
    return "\n".join([module.text(), kernel, "define void @run(ptr %frame, ptr %block) {",
                      "call void @k0(ptr %frame, ptr %block)", "ret void", "}", ATTRIBUTES, ""])


class Kernel:
    """A compiled loop; call it with its arrays, the last for results."""

    def __init__(self, ir: str, avx2: bool = False) -> None:
        machine = target_machine()
        if avx2:
            machine = llvm.Target.from_default_triple().create_target_machine(
                cpu="haswell", features=_HASWELL, opt=1, reloc="pic", codemodel="small")
        module = llvm.parse_assembly(ir)
        optimize(module, machine)
        self.assembly = machine.emit_assembly(module)
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self._run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(
            self._engine.get_function_address("run"))

    def bound(self, *arrays: Array) -> Callable[[], None]:
        block = (ctypes.c_int64 * (len(arrays) + 1))(*(a.ctypes.data for a in arrays), 0)
        return lambda: self._run(None, block)


def least_times(*runs: Callable[[], object]) -> list[float]:
    """Nanoseconds an element of each, interleaved."""
    least, until = [float("inf")] * len(runs), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        for k, run in enumerate(runs):
            run()  # its code and data in the cache
            start = time.perf_counter_ns()
            for _ in range(4):
                run()
            least[k] = min(least[k], (time.perf_counter_ns() - start) / 4 / COUNT)
    return least


def operands(name: str, dtype: DType) -> list[Array]:
    rng = np.random.default_rng(0)
    low, high = RANGES.get(name, (-5.0, 5.0))
    arity = 2 if name in BINARY else 1
    return [rng.uniform(low, high, COUNT).astype(dtype.numpy), rng.uniform(-5, 5, COUNT).astype(dtype.numpy)
            ][:arity]


def measure(name: str, dtype: DType, avx2: bool) -> tuple[float, float]:
    inputs = operands(name, dtype)
    bits = min(cpu.vector_bits(), 256 if avx2 else 512)
    out, fn = np.empty(COUNT, dtype.numpy), WIDE[name]
    ours = Kernel(kernel_ir(name, dtype, len(inputs), bits), avx2).bound(*inputs, out)
    into = {"out": np.empty_like(out)} if isinstance(fn, np.ufunc) else {}
    least = least_times(ours, lambda: fn(*inputs, **into))
    return least[0], least[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--avx2", action="store_true")
    parser.add_argument("--dtype", choices=["float32", "float64"])
    parser.add_argument("functions", nargs="*")
    options = parser.parse_args()
    if options.avx2 and "NPY_DISABLE_CPU_FEATURES" not in os.environ:  # numpy looks when it is imported
        os.environ["NPY_DISABLE_CPU_FEATURES"] = _NO_AVX512
        os.execv(sys.executable, [sys.executable, "-W", "ignore", "-m", "exhaustive.maths_speed",
                                  *sys.argv[1:]])
    print(f"{'function':10} {'dtype':8} {'ns':>8} {'theirs':>8} {'times':>7}")
    for name in options.functions or WIDE:
        for dtype in (float32, float64):
            if options.dtype in (None, dtype.name):
                ours, theirs = measure(name, dtype, options.avx2)
                print(f"{name:10} {dtype.name:8} {ours:8.3f} {theirs:8.3f} {theirs / ours:7.2f}", flush=True)


if __name__ == "__main__":
    main()
