"""What GRAPHFLOW_DEBUG prints, to standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphflow.compiler import flags
from graphflow.compiler.program import Program

if TYPE_CHECKING:
    from graphflow.runtime.figures import KernelFigures
    from graphflow.runtime.plan import Compiled, Plan


Run = Callable[[Sequence[Any]], list[Any]]


class Times:
    """Milliseconds between notes."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self._last = time.perf_counter()

    def note(self, name: str) -> None:
        now = time.perf_counter()
        self.parts[name] = self.parts.get(name, 0.0) + 1e3 * (now - self._last)
        self._last = now

    @property
    def total(self) -> float:
        return sum(self.parts.values())


def timed(run: Run, program: Program) -> Run:
    """The run, with a line about its time after each call."""
    def reported(arrays: Sequence[Any]) -> list[Any]:
        start = time.perf_counter()
        result = run(arrays)
        _print(f"graphflow: ran {len(program.calls)} kernels in {1e6 * (time.perf_counter() - start):.1f} us")
        return result
    return reported


def compiled(program: Program, times: Times, native: Compiled) -> None:
    """Level 1 prints a line; 3 adds the graphs, 4 the loop nests, 5 LLVM IR and assembly."""
    level = flags.debug_level()
    parts = ", ".join(f"{k} {v:.1f}" for k, v in times.parts.items() if v >= 0.05)
    _print(f"graphflow: compiled {program.ops} ops into {len(program.calls)} kernels in {times.total:.1f} ms "
           f"({parts})")
    for name, text in program.dumps:
        _print(f"--- {name}\n{text}")
    if level >= 5:
        _print(f"--- LLVM IR\n{program.ir}\n--- assembly\n{native.assembly()}")


def planned(plan: Plan) -> None:
    """Level 2: the kernels, when their extents are known; not of a program whose loop nests are outlines."""
    from graphflow.runtime.figures import held_values, kernel_figures

    program = plan.program
    if any(len(c.nest.params) != len(c.buffers) for c in program.calls):
        return
    held_bytes = sum(h.size for h in held_values(plan))
    held = f", held between runs {bytes_text(held_bytes)}" if held_bytes else ""
    _print(f"{text_table(kernel_rows(kernel_figures(plan)))}\n"
           f"  {len(program.calls)} kernels for {program.ops} ops, in one native call; "
           f"arena {bytes_text(plan.arena_bytes)}{held}")


def kernel_rows(figures: Sequence[KernelFigures]) -> list[tuple[str, ...]]:
    """A heading, and a row per launch; times only where there are any."""
    timed = any(f.seconds is not None for f in figures)
    rows = [_KERNEL_HEAD + (_TIME_HEAD if timed else ()) + _LAST_HEAD]
    for k, f in enumerate(figures):
        times = (time_text(f.seconds or 0.0), f"{100 * (f.share or 0):.0f} %") if timed else ()
        rows.append((f"{k} {f.function}", str(f.ops), " x ".join(map(str, f.extents)) or "1",
                     bytes_text(f.bytes_read), bytes_text(f.bytes_written), f"{f.operations:,}", *times,
                     os.path.basename(f.source), f.fused if len(f.fused) <= 50 else f.fused[:47] + "..."))
    return rows


_KERNEL_HEAD = ("kernel", "ops", "extents", "read", "written", "operations")
_TIME_HEAD = ("time", "of limit")
_LAST_HEAD = ("line", "fused")


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
                     for row in rows)


def time_text(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def bytes_text(count: int) -> str:
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def _print(text: str) -> None:
    print(text, file=sys.stderr)
