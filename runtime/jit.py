"""LLVM IR text to a callable, by way of numba's code generator. numba is imported when first needed."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.compiler.codegen.entry import ARRAY_DATA
from graphflow.compiler.codegen.table import TABLE, address_table
from graphflow.compiler.errors import UnsupportedError

_METH_FASTCALL = 0x80
_names = itertools.count()
_KEPT: list[Any] = []  # code that is called as long as the process lives


class _MethodDef(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("meth", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p)]


class NativeFunction:
    """A compiled entry: `call(frame, *arrays)`; keeps what the code needs alive."""

    __slots__ = ("call", "_library", "_definition")

    def __init__(self, address: int, library: Any) -> None:
        self._library = library
        self._definition = _MethodDef(b"program", address, _METH_FASTCALL, None)
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
        # the function's `self` keeps its code and definition alive: a plan holds no more than the function
        alive = (library, self._definition)
        self.call: Callable[..., Any] = make(ctypes.addressof(self._definition), alive, None)

    def entry(self, sizes: Sequence[int]) -> Callable[..., Any]:
        """What to call for buffers of these sizes in bytes: the same for all."""
        return self.call

    def assembly(self) -> str:
        return str(self._library.get_asm_str())


def compile_ir(ir: str, entry: str) -> NativeFunction:
    """Compile a module whose function `entry` has the signature of a Python builtin."""
    _check_array_layout()
    library, address = _load(ir, entry)
    return NativeFunction(address, library)


def function_addresses(ir: str, names: Sequence[str]) -> list[int]:
    """Compile a module and give the addresses of its functions, which may be internal.

    The code stays for the life of the process.
    """
    library, address = _load(ir + address_table(names), TABLE)
    _KEPT.append(library)
    at = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)(address)
    return [at(k) for k in range(len(names))]


def _load(ir: str, entry: str) -> tuple[Any, int]:
    from llvmlite import binding
    from numba.core.compiler_lock import global_compiler_lock

    name = f"graphflow_{entry}_{next(_names)}"
    with global_compiler_lock:
        library = _codegen().create_library(name)
        library.add_llvm_module(binding.parse_assembly(ir.replace(f"@{entry}(", f"@{name}(")))
        library.finalize()
        return library, library.get_pointer_to_function(name)


@functools.lru_cache(maxsize=1)
def _check_array_layout() -> None:
    """Entries read the data pointers of numpy arrays: refuse an interpreter where they lie elsewhere."""
    array = np.zeros(1)
    if ctypes.c_void_p.from_address(id(array) + ARRAY_DATA).value != array.ctypes.data:
        raise UnsupportedError("this build of Python lays out objects in another way than native code needs "
                               "(a free-threaded or debug build?)\nhint: GRAPHFLOW_JIT=0 runs without it")


@functools.lru_cache(maxsize=1)
def _codegen() -> Any:
    """numba's JIT with our pass pipeline: the IR is vectorised already, so a short one is enough."""
    from llvmlite import binding
    from numba.core.codegen import JITCodeLibrary, JITCPUCodegen

    class Library(JITCodeLibrary):
        def _optimize_functions(self, ll_module: Any) -> None:
            ll_module.data_layout = self._codegen._data_layout

        def _optimize_final_module(self) -> None:
            tuning = binding.create_pipeline_tuning_options(speed_level=2)
            tuning.loop_vectorization = tuning.slp_vectorization = False  # the SLP vectoriser has miscompiled
            builder = binding.create_pass_builder(self._codegen._tm, tuning)
            passes = binding.create_new_module_pass_manager()
            passes.add_always_inliner_pass()
            passes.run(self._final_module, builder)
            functions = binding.create_new_function_pass_manager()
            for add in ("add_sroa_pass", "add_instruction_combine_pass", "add_simplify_cfg_pass"):
                getattr(functions, add)()
            for f in self._final_module.functions:
                if not f.is_declaration:
                    functions.run(f, builder)

    class Codegen(JITCPUCodegen):
        _library_class = Library

    return Codegen("graphflow")  # type: ignore[no-untyped-call]


@functools.lru_cache(maxsize=1)
def vector_bits() -> int:
    """The widest vector registers of this CPU, by its features (LLVM's name for a CPU may be wrong)."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512dq") and features.get("avx512bw"):
        return 512
    return 256 if features.get("avx2") and features.get("fma") else 128
