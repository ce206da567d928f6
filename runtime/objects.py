"""LLVM IR text to object code, by llvmlite alone.

numba would compile the same text, but its import takes 0.2 s, several times what LLVM needs for a training
step. It compiles where its own linker is wanted: see `graphflow.runtime.jit`.

A large module is cut into parts that are compiled on all cores at once, each in a context of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from graphflow.compiler.codegen.split import split_module
from graphflow.compiler.digests import digest
from graphflow.runtime import cache, cpu, loader
from graphflow.runtime.threads import usable_cores

_LLVM = threading.RLock()  # a fork waits for it: a child that found LLVM at work would wait for it for ever
_PART = 4000  # characters of IR that are worth a thread
_MOMENT = 1e-3  # seconds
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LLVM.acquire, after_in_parent=_LLVM.release, after_in_child=_LLVM.release)


def compile_object(ir: str) -> bytes:
    """The object code of a module, for this CPU; of a large one several objects, one after another."""
    parts = min(usable_cores(), len(ir) // _PART) if loader.is_native() else 1
    with _LLVM:
        return b"".join(_at_once(lambda part: _emitted(part, True), split_module(ir, parts)))


def assembly(ir: str) -> str:
    """What `compile_object` makes, as text."""
    with _LLVM:
        return _emitted(ir, False).decode()


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
    """What becomes of each item, by a thread for each but the first.

    No thread is at work any more when this returns, nor when it raises what a signal's handler has raised.
    """
    results: list[Any] = [None] * len(items)
    running: set[int] = set()
    broken_off: list[BaseException] = []

    def run(k: int) -> None:
        running.add(k)
        try:
            results[k] = None if broken_off else work(items[k])
        except BaseException as e:
            results[k] = e
        finally:
            running.discard(k)

    helpers = [threading.Thread(target=run, args=(k,)) for k in range(1, len(items))]
    try:
        for k, helper in enumerate(helpers, 1):
            try:
                helper.start()
            except RuntimeError:  # no threads are left, or the interpreter is about to end
                run(k)
        run(0)
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
    except BaseException as e:
        broken_off.append(e)
        while running:  # not `join`: before Python 3.13 it takes a thread for ended once it was broken off
            with contextlib.suppress(BaseException):  # one that was raised comes out
                time.sleep(_MOMENT)
        raise
    for error in results:
        if isinstance(error, BaseException):
            raise error
    return results


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
