"""LLVM IR text to object code, by llvmlite alone.

numba would compile the same text, but its import takes 0.2 s, several times what LLVM needs for a training
step. It compiles where its own linker is wanted: see `graphflow.runtime.jit`.

A large module is cut into parts that are compiled on all cores at once, each in a context of its own, while
the calling thread listens for signals.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from graphflow.compiler.codegen.split import split_module
from graphflow.compiler.digests import digest
from graphflow.runtime import cache, cpu, loader
from graphflow.runtime.locks import COMPILING
from graphflow.runtime.threads import usable_cores

_PART = 4000  # characters of IR that are worth a thread


def compile_object(ir: str) -> bytes:
    """The object code of a module, for this CPU; of a large one several objects, one after another."""
    parts = min(usable_cores(), len(ir) // _PART) if loader.is_native() else 1
    return b"".join(_at_once(lambda part: _emitted(part, True), split_module(ir, parts)))


def assembly(ir: str) -> str:
    """What `compile_object` makes, as text."""
    return b"".join(_at_once(lambda part: _emitted(part, False), [ir])).decode()


def key_of(ir: str) -> str:
    """The name in the cache of a module's object."""
    return cache.key_of("object", version(), cpu.target(), ir)


def kept_object(ir: str) -> bytes:
    """The object code of a module, out of the cache if it is there."""
    known = cache.current()
    if known is None:
        return compile_object(ir)
    key = key_of(ir)
    image = known.read(key)
    if image is None:
        image = compile_object(ir)
        known.write(key, image)
    return image


@functools.lru_cache(maxsize=1)
def version() -> bytes:
    """What object code depends on besides IR and CPU: how it is made here, and LLVM's version."""
    parts = package_file("graphflow.compiler.codegen", "split.py"), package_file("llvmlite", "_version.py")
    with open(__file__, "rb") as f:
        return digest([f.read(), *parts])


def package_file(package: str, name: str) -> bytes:
    """A file of a package that need not be imported for it; nothing if there is no such package."""
    spec = importlib.util.find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        with open(os.path.join(folder, name), "rb") as f:
            return f.read()
    return b""


def _at_once(work: Callable[[str], bytes], items: Sequence[str]) -> list[bytes]:
    """What becomes of each item, by a thread for each; this one waits.

    So what a signal's handler raises comes out at once, and not when LLVM is done: it ends by itself.
    """
    parts = [_Part(work, item) for item in items]
    for part in parts:
        try:
            part.start()
        except RuntimeError:  # no threads are left, or the interpreter is about to end
            part.run()
    return [part.get() for part in parts]


class _Part(threading.Thread):
    def __init__(self, work: Callable[[str], bytes], item: str) -> None:
        super().__init__(name="graphflow-llvm")
        self._work = work
        self._item = item
        self._done = threading.Event()  # before Python 3.13, a `join` that is broken off ends a thread
        self._result: bytes | BaseException = b""

    def run(self) -> None:
        try:
            with COMPILING:
                self._result = self._work(self._item)
        except BaseException as e:
            self._result = e
        finally:
            self._done.set()

    def get(self) -> bytes:
        self._done.wait()
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result


def _emitted(ir: str, as_object: bool) -> bytes:
    """Object code or assembly; the module's context goes in the end, and with it all of LLVM's memory."""
    from llvmlite import binding
    from llvmlite.binding import ffi

    machine, text = target_machine(), ir.encode()
    with binding.create_context() as context, ffi.OutputString() as error:
        module = binding.ModuleRef(_free(ffi.lib.LLVMPY_ParseAssembly)(context, text, error), context)
        with module:
            _require(not error, error)
            module.triple, module.data_layout = machine.triple, str(machine.target_data)
            passes, builder = _pipeline(machine)
            _free(ffi.lib.LLVMPY_RunNewModulePassManager)(passes, module, builder)
            memory = _free(ffi.lib.LLVMPY_TargetMachineEmitToMemory)(machine, module, as_object, error)
            _require(memory, error)
    try:
        return ctypes.string_at(ffi.lib.LLVMPY_GetBufferStart(memory), ffi.lib.LLVMPY_GetBufferSize(memory))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


def _free(function: Any) -> Any:
    """llvmlite's function without its lock, which lets one thread into LLVM: contexts share nothing."""
    return getattr(function, "_cfn", function)


def _require(success: object, error: object) -> None:
    if not success:
        raise RuntimeError(f"LLVM: {error}")


def optimize(module: Any, machine: Any) -> None:
    """Our pass pipeline."""
    passes, builder = _pipeline(machine)
    passes.run(module, builder)


def _pipeline(machine: Any) -> tuple[Any, Any]:
    """Passes, and what runs them: the IR is vectorised already, and has no scalars on the stack."""
    from llvmlite import binding

    tuning = binding.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = False  # the SLP vectoriser has miscompiled
    passes = binding.create_new_module_pass_manager()
    for add in ("always_inliner", "instruction_combine", "simplify_cfg"):
        getattr(passes, f"add_{add}_pass")()
    return passes, binding.create_pass_builder(machine, tuning)


def target_machine() -> Any:
    """This CPU, for code that lies anywhere in memory. Made anew each time, as threads may not share one.

    Level 1 of 3 leaves out what hardly helps here and takes long, such as scheduling once more in the end.
    """
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=1,
        reloc="pic", codemodel="small")
