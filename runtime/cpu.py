"""What this CPU can do, by its features: a name says little, and LLVM's name for a CPU may be wrong."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import replace

from graphflow.compiler.target import Target
from graphflow.runtime.threads import usable_cores

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


@functools.lru_cache(maxsize=1)
def host_target() -> Target:
    """This machine: its vectors and cores, and its caches where the system tells them."""
    usual = Target(vector_bits(), dots_bf16=_has_dots("avx512_bf16"), dots_int8=_has_dots("avx512_vnni"))
    return replace(usual, l1=_cache_size("SC_LEVEL1_DCACHE_SIZE", usual.l1),
                   l2=_cache_size("SC_LEVEL2_CACHE_SIZE", usual.l2),
                   l3=_cache_size("SC_LEVEL3_CACHE_SIZE", usual.l3), threads=usable_cores())


def _has_dots(feature: str) -> bool:
    return vector_bits() == 512 and not features().isdisjoint({feature, feature.replace("_", "")})


def _cache_size(name: str, otherwise: int) -> int:
    try:
        return max(os.sysconf(name), 0) or otherwise
    except (AttributeError, OSError, ValueError):
        return otherwise
