"""LLVM IR text to a callable.

The ordinary route is llvmlite's code generator and our own loader; its objects can be kept for the cache.
What that loader cannot link (with GRAPHFLOW_JIT=numba: everything) goes through numba's code generator and
linker, which know numba's runtime and what `@njit` made. Both optimise alike, but `import numba` takes 0.2 s,
more than all else in the compilation of a training step.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphflow.compiler import flags
from graphflow.compiler.codegen.frame import ARRAY_DATA
from graphflow.compiler.codegen.table import TABLE, address_table
from graphflow.compiler.errors import UnsupportedError
from graphflow.runtime import loader, objects

_METH_FASTCALL = 0x80
_names = itertools.count()
_NAME = ctypes.create_string_buffer(b"program")
_KEPT: list[Any] = []  # code that is called as long as the process lives


class NativeFunction:
    """A compiled entry: `call(frame, *arrays)`; keeps what the code needs alive."""

    __slots__ = ("assembly", "call", "image")

    def __init__(self, address: int, code: Any, assembly: Callable[[], str], image: bytes = b"") -> None:
        self.assembly = assembly
        self.image = image
        # CPython's PyMethodDef. Bytes, since a function reads it as it goes, and the garbage collector would
        # have emptied a ctypes structure of the same garbage by then
        definition = struct.pack("PPiP", ctypes.addressof(_NAME), address, _METH_FASTCALL, 0)
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype, make.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.py_object, ctypes.c_void_p]
        # the function's `self` keeps its code and definition alive: a plan holds no more than the function
        self.call: Callable[..., Any] = make(definition, (code, definition), None)

    def entry(self, sizes: Sequence[int]) -> Callable[..., Any]:
        """What to call for buffers of these sizes in bytes: the same for all."""
        return self.call


def compile_ir(ir: str, entry: str) -> NativeFunction:
    """Compile a module whose function `entry` has the signature of a Python builtin."""
    if _has_own_route():
        try:
            return load_object(objects.compile_object(ir), entry, ir)
        except loader.UnlinkableError:
            pass
    _check_array_layout()
    library, address = _compile_by_numba(ir, entry)
    return NativeFunction(address, library, library.get_asm_str)


def load_object(image: bytes, entry: str, ir: str = "") -> NativeFunction:
    """The entry of an object that `compile_object` made, now or in an earlier process.

    Raises:  UnlinkableError where the object is damaged, or calls what our loader does not know
    """
    _check_array_layout()
    code = loader.load(image, entry)
    return NativeFunction(code.address, code, functools.partial(objects.assembly, ir), image)


def function_addresses(ir: str, names: Sequence[str]) -> list[int]:
    """Compile a module, if the cache has no object of it, and give the addresses of its functions.

    These may be internal. The code stays for the life of the process.
    """
    code, address = _load_for_good(ir + address_table(names))
    _KEPT.append(code)
    at = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)(address)
    return [at(k) for k in range(len(names))]


def _load_for_good(ir: str) -> tuple[Any, int]:
    if _has_own_route():
        try:
            code = loader.load(objects.kept_object(ir), TABLE)
            return code, code.address
        except loader.UnlinkableError:
            pass
    return _compile_by_numba(ir, TABLE)


def _has_own_route() -> bool:
    return not (flags.use_numba() or sys.platform == "win32")  # numba knows Windows' code models


def _compile_by_numba(ir: str, entry: str) -> tuple[Any, int]:
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
    """numba's code generator with our pass pipeline."""
    from numba.core.codegen import JITCodeLibrary, JITCPUCodegen

    class Library(JITCodeLibrary):
        def _optimize_functions(self, ll_module: Any) -> None:
            ll_module.data_layout = self._codegen._data_layout

        def _optimize_final_module(self) -> None:
            objects.optimize(self._final_module, self._codegen._tm)

    class Codegen(JITCPUCodegen):
        _library_class = Library

    return Codegen("graphflow")  # type: ignore[no-untyped-call]
