"""What this CPU can do, by its features: a name says little, and LLVM's name for a CPU may be wrong."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import platform
import sys
from collections.abc import Mapping
from dataclasses import replace

from graphflow.compiler.target import Target
from graphflow.runtime.threads import usable_cores

_MOST = 1 << 16  # bytes: the first of the processors is enough, and they may be hundreds
_CACHES = "/sys/devices/system/cpu/cpu0/cache"
_SHIFTS = {"K": 10, "M": 20, "G": 30}
_ON_MAC = {"l1": "l1dcachesize", "l2": "l2cachesize", "l3": "l3cachesize"}
_BELIEVED = {"l1": (1 << 13, 1 << 18), "l2": (1 << 17, 1 << 22), "l3": (1 << 20, 1 << 25)}


@functools.lru_cache(maxsize=1)
def features() -> frozenset[str]:
    """The names of the CPU's features: Linux's own; elsewhere LLVM's, at 40 ms for its import."""
    found = parse_cpuinfo(_cpuinfo())
    if found:
        return found
    from llvmlite import binding

    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


def parse_cpuinfo(text: str) -> frozenset[str]:
    """The flags of the first processor; empty where the text has none that end within it."""
    return frozenset(_entry(text, "flags", "features").split())


def _entry(text: str, *keys: str) -> str:
    for line in text.splitlines(keepends=True):
        key, _, value = line.partition(":")
        if key.strip().lower() in keys and line.endswith("\n"):
            return value.strip()
    return ""


def model() -> str:
    """The CPU's name for itself; nothing where the system does not tell it."""
    return _entry(_cpuinfo(), "model name") or platform.processor()


def _cpuinfo() -> str:
    try:
        with open("/proc/cpuinfo", "rb", buffering=0) as f:
            return f.read(_MOST).decode("ascii", "replace")
    except OSError:
        return ""


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
    usual = Target(vector_bits(), dots_bf16=_has_dots("avx512_bf16"), dots_int8=_has_dots("avx512_vnni"),
                   threads=usable_cores())
    sizes = believed(mac_caches() if sys.platform == "darwin" else linux_caches(_CACHES))
    return replace(usual, l1=sizes.get("l1", usual.l1), l2=sizes.get("l2", usual.l2),
                   l3=sizes.get("l3", usual.l3))


def _has_dots(feature: str) -> bool:
    return vector_bits() == 512 and not features().isdisjoint({feature, feature.replace("_", "")})


def linux_caches(folder: str) -> dict[str, int]:
    """l1, l2, l3: bytes of the caches that hold data, by what Linux tells in this folder."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for k in itertools.count():  # until there is no such file
            level, kind, size = (_text(f"{folder}/index{k}/{name}") for name in ("level", "type", "size"))
            if kind != "Instruction":
                found[f"l{level}"] = int(size.rstrip("KMG")) << _SHIFTS.get(size[-1:], 0)
    return found


def _text(path: str) -> str:
    with open(path, "rb", buffering=0) as f:
        return f.read().decode("ascii", "replace").strip()


def mac_caches() -> dict[str, int]:
    """The same, of macOS' fastest cores."""
    return {level: size for level, name in _ON_MAC.items() for kind in ("hw.", "hw.perflevel0.")
            if (size := _sysctl(kind + name))}


def _sysctl(name: str) -> int:
    """A number that the system's C library knows; 0 where it does not."""
    value, size = ctypes.c_int64(), ctypes.c_size_t(ctypes.sizeof(ctypes.c_int64))
    ctypes.CDLL(None).sysctlbyname(name.encode(), ctypes.byref(value), ctypes.byref(size), None,
                                     ctypes.c_size_t(0))
    return value.value


def believed(found: Mapping[str, int]) -> dict[str, int]:
    """Of these caches those that may be, and no more of each than one core can count on."""
    return {level: min(found[level], most) for level, (least, most) in _BELIEVED.items()
            if found.get(level, 0) >= least}
