"""Mathematical functions compiled alone, by LLVM without numba: arrays in, arrays out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import binding as llvm

from graphflow.compiler.codegen.emitter import Emitter, Module
from graphflow.compiler.codegen.values import Value, llvm_type
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.expr import Expr
from graphflow.compiler.loops.maths import expand_math
from graphflow.runtime import cpu

Array = np.ndarray[Any, Any]
_LOOP = """
define void @run({params}, ptr %out, i64 %n) #0 {{
entry: br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{loads}
  %r = call {t} @{name}({args})
  %p = getelementptr {one}, ptr %out, i64 %i
  store {t} %r, ptr %p, align 4
  %next = add i64 %i, {lanes}
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done: ret void
}}
attributes #0 = {{ nounwind "prefer-vector-width"="512" }}
attributes #1 = {{ nounwind alwaysinline "prefer-vector-width"="512" }}
"""


def _builder(fn: str | Callable[..., Expr], dtype: DType) -> Callable[..., Expr]:
    if not isinstance(fn, str):
        return fn
    assert expand_math(fn, dtype) is not None, f"no expansion of {fn} for {dtype}"
    return partial(E.call, fn)


def _define(module: Module, build: Callable[..., Expr], dtype: DType, lanes: int, arity: int) -> str:
    """Add a function of `arity` vectors to the module; its name."""
    args = [E.temp(f"a{k}", dtype) for k in range(arity)]
    em = Emitter(module)
    values = {a: Value(f"%{a.attr}", dtype, lanes) for a in args}
    params = ", ".join(str(v) for v in values.values())
    result = em.expression(build(*args), values)
    head = f"define internal {llvm_type(dtype, lanes)} @built({params}) #1 {{"
    module.functions["built"] = "\n".join([head, *em.lines, f"ret {result}", "}"])
    return "built"


class Native:
    """One function for one dtype: by name, or as a builder of its expression.

    vector_bits: the registers to compile for; by default this CPU's
    """

    def __init__(self, fn: str | Callable[..., Expr], dtype: DType, arity: int = 1,
                 vector_bits: int = 0) -> None:
        self.lanes = 64 // dtype.size
        t, one = llvm_type(dtype, self.lanes), llvm_type(dtype)
        module = Module(vector_bits or cpu.vector_bits())
        name = _define(module, _builder(fn, dtype), dtype, self.lanes, arity)
        loads = "\n".join(f"  %q{k} = getelementptr {one}, ptr %x{k}, i64 %i\n"
                          f"  %a{k} = load {t}, ptr %q{k}, align 4" for k in range(arity))
        text = module.text() + _LOOP.format(
            name=name, t=t, one=one, lanes=self.lanes, loads=loads,
            params=", ".join(f"ptr %x{k}" for k in range(arity)),
            args=", ".join(f"{t} %a{k}" for k in range(arity)))
        self._compile(text)
        self.dtype = dtype.numpy

    def _compile(self, text: str) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3)
        module = llvm.parse_assembly(text)
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        llvm.create_pass_builder(machine, options).getModulePassManager().run(
            module, llvm.create_pass_builder(machine, options))
        self.assembly = machine.emit_assembly(module)
        self._engine = llvm.create_mcjit_compiler(module, machine)  # owns the code
        self._engine.finalize_object()
        self._run = ctypes.CFUNCTYPE(None)(self._engine.get_function_address("run"))

    def __call__(self, *arrays: Array) -> Array:
        n = arrays[0].size
        padded = -(-n // self.lanes) * self.lanes
        inputs = [np.ascontiguousarray(a, self.dtype).ravel() for a in arrays]
        if padded != n:
            inputs = [np.pad(a, (0, padded - n)) for a in inputs]
        out = np.empty(padded, self.dtype)
        self.run(inputs, out)
        return out[:n].reshape(arrays[0].shape)

    def run(self, inputs: list[Array], out: Array) -> None:
        """Contiguous arrays of whole vectors, unchecked."""
        self._run(*(ctypes.c_void_p(a.ctypes.data) for a in (*inputs, out)), ctypes.c_int64(out.size))
