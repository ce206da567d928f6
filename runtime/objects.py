"""LLVM IR text to object code, by llvmlite alone.

numba would compile the same text, but its import takes 0.2 s, several times what LLVM needs for a training
step. It compiles where its own linker is wanted: see `graphflow.runtime.jit`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graphflow.runtime import cache, cpu

_LLVM = threading.RLock()  # a fork waits for it: a child that found LLVM at work would wait for it for ever
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LLVM.acquire, after_in_parent=_LLVM.release, after_in_child=_LLVM.release)


def compile_object(ir: str) -> bytes:
    """The object code of a module, for this CPU."""
    with _LLVM, target_machine() as machine, _optimized(ir, machine) as module:
        image: bytes = machine.emit_object(module)
    return image


def assembly(ir: str) -> str:
    """What `compile_object` makes, as text."""
    with _LLVM, target_machine() as machine, _optimized(ir, machine) as module:
        return str(machine.emit_assembly(module))


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
    """What object code depends on besides IR and CPU: this file, and LLVM's version, read from its file."""
    with open(__file__, "rb") as f:
        return hashlib.sha256(f.read() + package_file("llvmlite", "_version.py")).digest()


def package_file(package: str, name: str) -> bytes:
    """A file of a package that need not be imported for it; nothing if there is no such package."""
    spec = importlib.util.find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    for folder in folders:
        with open(os.path.join(folder, name), "rb") as f:
            return f.read()
    return b""


@contextmanager
def _optimized(ir: str, machine: Any) -> Iterator[Any]:
    """The module; its context goes after it, and with it all of LLVM's memory for both."""
    from llvmlite import binding

    with binding.create_context() as context, binding.parse_assembly(ir, context) as module:
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        optimize(module, machine)
        yield module


def optimize(module: Any, machine: Any) -> None:
    """Our pass pipeline: the IR is vectorised already, so a short one is enough."""
    from llvmlite import binding

    tuning = binding.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = False  # the SLP vectoriser has miscompiled
    builder = binding.create_pass_builder(machine, tuning)
    passes = binding.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.run(module, builder)
    functions = binding.create_new_function_pass_manager()
    for add in ("add_sroa_pass", "add_instruction_combine_pass", "add_simplify_cfg_pass"):
        getattr(functions, add)()
    for f in module.functions:
        if not f.is_declaration:
            functions.run(f, builder)


def target_machine() -> Any:
    """This CPU, for code that lies anywhere in memory. Made anew each time, as threads may not share one."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3,
        reloc="pic", codemodel="small")
