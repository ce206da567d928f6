"""Figures of a run in stages: those of each stage's program, over all of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphflow.compiler.ir.variable import VariableHandle
from graphflow.compiler.records import record
from graphflow.runtime.executable import Executable
from graphflow.runtime.figures import (
    Holder,
    KernelFigures,
    Measuring,
    held_values,
    kernel_figures,
    peak_holders,
    with_shares,
)
from graphflow.runtime.pages import Array
from graphflow.runtime.plan import Plan
from graphflow.runtime.stages import Stages


@record
class StageFigures:
    """A program of a stage, over `runs` runs; arena, peak and holders are of the one with most memory.

    kernels  launches and seconds of all runs together; bytes and operations of a launch are the average
    """

    title: str
    runs: int
    ops: int
    kernels: tuple[KernelFigures, ...]
    arena_bytes: int
    peak: int
    holders: tuple[Holder, ...]
    held: tuple[Holder, ...]
    seconds: float | None


class _Runs:
    """What is known of a program's runs."""

    def __init__(self, stage: Executable, plan: Plan, measure: bool) -> None:
        self.stage = stage
        self.largest = plan
        self.figures: list[list[KernelFigures]] = []
        self.seconds: list[float] = []
        self.measure = Measuring(plan.program) if measure else None

    def add(self, plan: Plan, arrays: Sequence[Array]) -> None:
        self.largest = max(self.largest, plan, key=lambda p: p.arena_bytes)
        figures, seconds = self.measure(plan, arrays) if self.measure else (kernel_figures(plan), None)
        self.figures.append(figures)
        self.seconds += [] if seconds is None else [seconds]

    def summary(self, title: str) -> StageFigures:
        plan = self.largest
        peak, holders = peak_holders(plan)
        return StageFigures(title, len(self.figures), plan.program.ops, _together(self.figures),
                            plan.arena_bytes, peak, tuple(holders), tuple(held_values(plan)),
                            sum(self.seconds) if self.seconds else None)


def observe(executable: Executable, values: Sequence[Array], run: bool,
            written: Iterable[VariableHandle]) -> list[StageFigures]:
    """Run in stages, once; gives figures of the programs, in the order of their first runs.

    run      each of them several times, to measure it
    written  variables that the run writes, which are as before afterwards
    """
    found: dict[tuple[Executable, int], _Runs] = {}

    def see(stage: Executable, plan: Plan, arrays: Sequence[Array]) -> None:
        place = stage, id(plan.program)
        if place not in found:
            found[place] = _Runs(stage, plan, run)
        found[place].add(plan, arrays)

    with executable.store.restored(written):
        executable.observed(values, see)
    titles = _titles(executable.stages)
    return [runs.summary(titles[runs.stage]) for runs in found.values()]


def _titles(stages: Stages | None) -> dict[Executable, str]:
    """What each stage is, those of loops within an iteration included."""
    titles: dict[Executable, str] = {}
    left = [stages]
    while left:
        found = left.pop()
        titles |= found.titles if found is not None else {}
        left += [part.stages for part in found.titles] if found is not None else []
    return titles


def _together(runs: Sequence[Sequence[KernelFigures]]) -> tuple[KernelFigures, ...]:
    """The figures of the same launches in several runs as one."""
    return tuple(with_shares([_sum(each) for each in zip(*runs, strict=True)]))


def _sum(figures: Sequence[KernelFigures]) -> KernelFigures:
    launches = sum(f.launches for f in figures)

    def average(counts: Iterable[int]) -> int:
        return sum(n * f.launches for n, f in zip(counts, figures, strict=True)) // max(launches, 1)

    times = [f.seconds for f in figures if f.seconds is not None]
    return replace(
        figures[-1], launches=launches, seconds=sum(times) if times else None,
        bytes_read=average(f.bytes_read for f in figures),
        bytes_written=average(f.bytes_written for f in figures),
        operations=average(f.operations for f in figures))
