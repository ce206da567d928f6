"""What GRAPHFLOW_DEBUG prints, to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphflow.compiler import flags
from graphflow.compiler.program import Call, Program

if TYPE_CHECKING:
    from graphflow.runtime.plan import Compiled


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
    """Level 1 prints a line; 2 adds the kernels, 3 the graphs, 4 the loop nests, 5 LLVM IR and assembly."""
    level = flags.debug_level()
    parts = ", ".join(f"{k} {v:.1f}" for k, v in times.parts.items() if v >= 0.05)
    _print(f"graphflow: compiled {program.ops} ops into {len(program.calls)} kernels in {times.total:.1f} ms "
           f"({parts})")
    if level >= 2:
        _print(kernel_table(program))
    for name, text in program.dumps:
        _print(f"--- {name}\n{text}")
    if level >= 5:
        _print(f"--- LLVM IR\n{program.ir}\n--- assembly\n{native.assembly()}")


def kernel_table(program: Program) -> str:
    """A row per kernel: what it fuses and over which extents it loops."""
    rows: list[tuple[str, ...]] = [("kernel", "kind", "ops", "extents", "work", "fused")]
    rows += [_row(k, c) for k, c in enumerate(program.calls)]
    widths = [max(len(r[k]) for r in rows) for k in range(5)]
    lines = ["".join(f"  {cell:{width}}" for cell, width in zip(row, widths, strict=False)) + f"  {row[5]}"
             for row in rows]
    lines.append(f"  {len(program.calls)} kernels for {program.ops} ops, in one native call")
    return "\n".join(lines)


def _row(k: int, c: Call) -> tuple[str, ...]:
    fused = c.fused if len(c.fused) <= 70 else c.fused[:67] + "..."
    return f"{k} {c.function}", c.kind, str(c.ops), " x ".join(map(str, c.extents)) or "1", str(c.work), fused


def _print(text: str) -> None:
    print(text, file=sys.stderr)
