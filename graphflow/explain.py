"""explain: what a compiled program holds in memory, moves and computes, kernel by kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphflow.compiler.ir.regions import variables_written
from graphflow.compiler.ir.rewrite import ancestors
from graphflow.compiler.records import record
from graphflow.fetches import plan_fetches
from graphflow.runtime.plan import Plan
from graphflow.runtime.report import bytes_text, kernel_rows, text_table, time_text
from graphflow.session import Session, get_default_session

if TYPE_CHECKING:  # what they import a program that runs does not need
    from graphflow.compiler.ir.variable import VariableHandle
    from graphflow.runtime.executable import Executable
    from graphflow.runtime.figures import Holder, KernelFigures
    from graphflow.runtime.machine import Limits
    from graphflow.runtime.observed import StageFigures

_MOST_HOLDERS = 20
_Table = tuple[str, Sequence[tuple[str, ...]]]


@record
class Explanation:
    """What `explain` found; printed, it is a table.

    arena_bytes   memory for values between kernels
    peak, holders the kernel with the most bytes of these alive, and whose they are, the largest first
    held          what is computed once and held until a variable that it comes from is written, such as
                  packed weights: in memory of the session
    seconds       of all kernels of a run; None unless it was run
    limits        what this machine attains at most, on one thread and on the session's
    stages        the programs of a run in stages (see while_loop): the kernels are then those of all of them,
                  and arena, peak and holders those of the one with most memory
    """

    ops: int
    arena_bytes: int
    kernels: tuple[KernelFigures, ...]
    peak: int
    holders: tuple[Holder, ...]
    held: tuple[Holder, ...]
    seconds: float | None
    limits: tuple[Limits, ...]
    stages: tuple[StageFigures, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Bytes that all kernels read and write in one run."""
        return sum((k.bytes_read + k.bytes_written) * k.launches for k in self.kernels)

    @property
    def operations(self) -> int:
        """Additions that all kernels make in one run; a multiply-add is two."""
        return sum(k.operations * k.launches for k in self.kernels)

    def __str__(self) -> str:
        parts = [self._summary()]
        for title, rows in self._tables():
            parts.append(f"{title}\n{text_table(rows)}")
        return "\n".join([*parts, *map(limits_text, self.limits)])

    __repr__ = __str__

    def _summary(self) -> str:
        took = "" if self.seconds is None else f" in {time_text(self.seconds)}"
        stages = f" of {len(self.stages)} stages" if self.stages else ""
        return (f"{self.ops} ops in {len(self.kernels)} kernels{stages}: {bytes_text(self.total_bytes)} "
                f"read and written, {self.operations:,} operations{took}")

    @property
    def held_bytes(self) -> int:
        """Bytes of what is held between runs."""
        return sum(h.size for h in self.held)

    def _tables(self) -> list[_Table]:
        if not self.stages:
            return _tables_of(self, "kernels")
        return [table for s in self.stages for table in _tables_of(s, _title(s))]


def _title(s: StageFigures) -> str:
    took = "" if s.seconds is None else f" in {time_text(s.seconds)}"
    return f"{s.title}, {s.runs} {'run' if s.runs == 1 else 'runs'}{took}"


def _tables_of(found: Explanation | StageFigures, title: str) -> list[_Table]:
    """A program's kernels, and what its memory holds."""
    arena = f"arena {bytes_text(found.arena_bytes)}; most is alive in kernel {found.peak}:"
    held = f"held between runs {bytes_text(sum(h.size for h in found.held))}:"
    memory = [(text, _rows_of(holders)) for text, holders in ((arena, found.holders), (held, found.held))
              if holders]
    return [(f"{title}:", kernel_rows(found.kernels)), *memory]


def _rows_of(holders: Sequence[Holder]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("bytes", "operation", "line", "kernels")]
    rows += [(bytes_text(h.size), h.name, os.path.basename(h.source), f"{h.first} to {h.last}")
             for h in holders[:_MOST_HOLDERS]]
    hidden = holders[_MOST_HOLDERS:]
    if hidden:
        rows.append((bytes_text(sum(h.size for h in hidden)), f"{len(hidden)} more", "", ""))
    return rows


def limits_text(most: Limits) -> str:
    """A line about what the machine attains at most."""
    rates = ", ".join(f"{rate / 1e9:.3g} GB/s ({bytes_text(size)})" for size, rate in most.bandwidths)
    return f"limits of {most.threads} threads: {most.flops / 1e9:.4g} Gflop/s; copies {rates}"


def explain(fetches: Any, feed_dict: Mapping[Any, Any] | None = None,
            shapes: Mapping[Any, Sequence[int]] | None = None, session: Session | None = None,
            run: bool = False) -> Explanation:
    """Compile `fetches` and tell what the program holds, moves and computes: `print` shows it as tables.

    feed_dict  tensor -> value, as for `Session.run`
    shapes     tensor -> shape, for tensors that are not in `feed_dict`: zeros stand for their values
    session    the default one if not given
    run        run it too, several times: each kernel's time, and its share of what this machine attains at
               most in memory traffic or arithmetic; the variables are as before afterwards
    Of a run in stages (see while_loop) each stage is shown. It is made once in any case, since what a stage
    is given tells its sizes; a stage's kernels then have the launches of all its runs.
    Raises:    as Session.run
    """
    session = session or get_default_session()
    if session is None:
        raise ValueError("explain() needs a session: pass session= or call it inside `with tf.Session():`")
    element = session.graph.as_graph_element
    values = {element(k, allow_operation=False): v for k, v in (feed_dict or {}).items()}
    for key, shape in (shapes or {}).items():
        t = element(key, allow_operation=False)
        values.setdefault(t, np.zeros(tuple(shape), t.dtype.numpy))
    wanted = plan_fetches(session.graph, fetches)
    executable = session.engine.prepare(wanted.tensors, wanted.targets, list(values), whole=True)
    arrays = list(values.values())
    if executable.is_in_stages(arrays):
        written = variables_written(ancestors(wanted.tensors, values, wanted.targets))
        return _staged(executable, arrays, written, run)
    return _explanation(*executable.plan_for(arrays), run)


def _explanation(plan: Plan, arrays: Sequence[Any], run: bool) -> Explanation:
    from graphflow.runtime.figures import Measuring, held_values, kernel_figures, peak_holders
    from graphflow.runtime.machine import limits

    figures, seconds = Measuring(plan.program)(plan, arrays) if run else (kernel_figures(plan), None)
    peak, holders = peak_holders(plan)
    threads = sorted({1, plan.threads}) if seconds is not None else ()
    return Explanation(plan.program.ops, plan.arena_bytes, tuple(figures), peak, tuple(holders),
                       tuple(held_values(plan)), seconds, tuple(map(limits, threads)))


def _staged(executable: Executable, arrays: Sequence[Any], written: Sequence[VariableHandle],
            run: bool) -> Explanation:
    from graphflow.runtime.machine import limits
    from graphflow.runtime.observed import observe

    stages = observe(executable, arrays, run, written)
    largest = max(stages, key=lambda s: s.arena_bytes)
    first = sum(len(s.kernels) for s in stages[:stages.index(largest)])
    holders = [replace(h, first=first + h.first, last=first + h.last) for h in largest.holders]
    kernels = tuple(k for s in stages for k in s.kernels)
    times = [s.seconds for s in stages if s.seconds is not None]
    threads = sorted({1, *(k.threads for k in kernels)}) if times else ()
    return Explanation(sum(s.ops for s in stages), largest.arena_bytes, kernels, first + largest.peak,
                       tuple(holders), tuple(h for s in stages for h in s.held),
                       sum(times) if times else None, tuple(map(limits, threads)), tuple(stages))
