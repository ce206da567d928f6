"""The environment switches, read at each use so that a test or a notebook can change them."""

from __future__ import annotations

import os


def debug_level() -> int:
    """`GRAPHFLOW_DEBUG`: 1 times, 2 + kernels, 3 + graph after each pass, 4 + loop nests, 5 + native code."""
    return int(os.environ.get("GRAPHFLOW_DEBUG", "0") or 0)


def check_passes() -> bool:
    """`GRAPHFLOW_CHECK=1`: run the oracle after each graph pass and name the first that changes a result."""
    return os.environ.get("GRAPHFLOW_CHECK", "0") not in ("", "0")


def use_jit() -> bool:
    """`GRAPHFLOW_JIT=0` runs the loop nests in plain Python instead of native code."""
    return os.environ.get("GRAPHFLOW_JIT", "1") != "0"
