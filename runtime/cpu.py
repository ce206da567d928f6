"""What this CPU can do, by its features: a name says little, and LLVM's name for a CPU may be wrong."""

from __future__ import annotations

import functools
import platform

_MOST = 1 << 16  # bytes: the first of the processors is enough, and they may be hundreds


@functools.lru_cache(maxsize=1)
def features() -> frozenset[str]:
    """The names of the CPU's features: Linux's own; elsewhere LLVM's, at 40 ms for its import."""
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as f:
            found = parse_cpuinfo(f.read(_MOST).decode("ascii", "replace"))
    except OSError:
        found = frozenset()
    if found:
        return found
    from llvmlite import binding

    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


def parse_cpuinfo(text: str) -> frozenset[str]:
    """The flags of the first processor; empty where the text has none that end within it."""
    for line in text.splitlines(keepends=True):
        key, _, value = line.partition(":")
        if key.strip().lower() in ("flags", "features") and line.endswith("\n"):
            return frozenset(value.split())
    return frozenset()


@functools.lru_cache(maxsize=1)
def vector_bits() -> int:
    """The width of the vector registers to use."""
    if {"avx512f", "avx512dq", "avx512bw"} <= features():
        return 512
    return 256 if {"avx2", "fma"} <= features() else 128


@functools.lru_cache(maxsize=1)
def target() -> str:
    """What object code made here depends on, besides the IR: machine, system, and the CPU's features."""
    return f"{platform.machine()} {platform.system()} {' '.join(sorted(features()))}"
