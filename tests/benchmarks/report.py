"""The figures as tables, and as JSON."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import (
    NAMES,
    OURS,
    Figures,
    best_peer,
    by_workload,
    geometric_mean,
    peers_of,
    share,
    speedup,
)
from tests.benchmarks.runner import Results, Row, Settings, rows_as_data

COLUMNS = ("workload", "framework", "step", "p10, p90", "ours is", "cold", "warm", "memory", "GB/s",
           "GFLOP/s", "share", "error")

LEGEND = """\
p10, p90    of the samples, from the median
ours is     how many times faster than the framework of the row; in our row, than the fastest peer
cold, warm  from importing the framework (after numpy) to the first result, with caches on disk empty and
            filled; in a group, later workloads find modules and threads there
memory      the peak of the process; workloads of a group share one
GB/s        of bytes that must move, inputs read and results written once; share is of the machine's limit
error       the largest against float64, relative to the largest value"""


def show(results: Results, console: Console) -> None:
    """Every workload in every framework, then the geometric means."""
    table = Table(title="Benchmarks: a step, the first call, memory", caption=_machine(results),
                  box=box.SIMPLE)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in COLUMNS[:2] else "right", no_wrap=True)
    notes: dict[str, list[str]] = {}
    for workload, entries in by_workload(results).items():
        fastest, title = best_peer(entries), workload
        for framework, entry in entries.items():
            if isinstance(entry, Figures):
                table.add_row(title, framework, *_cells(entry, entries, fastest, results))
                title = ""
            else:
                notes.setdefault(f"{framework}: {entry.problem or 'nothing measured'}", []).append(workload)
        table.add_section()
    console.print(table)
    console.print(LEGEND, highlight=False)
    for problem, workloads in notes.items():
        console.print(f"{problem} ({', '.join(workloads)})", highlight=False, markup=False)
    console.print(_means(results))


def _cells(f: Figures, entries: dict[str, Any], fastest: Figures | None, results: Results) -> list[str]:
    ratio = speedup(entries) if f.row.framework == OURS else speedup(entries, f.row.framework)
    against = f"{ratio:.2f} x" if ratio is not None else ""
    if f is fastest:
        against = f"[bold]{against}[/]"
    error = f.row.error if f.row.error is not None else math.nan
    wrong = not error <= NAMES[f.row.workload].tolerance
    spread = f"{100 * (f.p10 / f.step - 1):+.0f} {100 * (f.p90 / f.step - 1):+.0f} %"
    return [duration(f.step), spread, against, duration(f.cold), duration(f.warm),
            f"{f.memory / 2 ** 20:,.0f} MiB", _figure(f.row.bytes / f.step / 1e9),
            _figure(f.row.flops / f.step / 1e9), f"{100 * share(f, results.peaks):.0f} %",
            f"[red]{error:.0e}[/]" if wrong else f"{error:.0e}"]


def _means(results: Results) -> Table:
    table = Table(title="Geometric means of the speedup of graphflow; a group of workloads counts as one")
    table.add_column("against")
    for name in ("all", "not bound by matmul or conv"):
        table.add_column(name, justify="right")
    for label, peer in (("the best peer of each", ""), *((p, p) for p in peers_of(results.rows))):
        cells = []
        for dense in (True, False):
            mean = geometric_mean(results, peer, dense)
            cells.append(f"{mean[0]:.2f} x of {mean[1]}" if mean else "-")
        table.add_row(label, *cells)
    return table


def _machine(results: Results) -> str:
    peaks = results.peaks
    versions = ", ".join(f"{k} {v}" for k, v in results.versions.items())
    return (f"{versions}. Limits measured: copies {peaks['bandwidth'] / 1e9:.0f} GB/s, float32 multiply-adds "
            f"{peaks['flops'] / 1e9:.0f} GFLOP/s.")


def save(results: Results, settings: Settings, path: Path) -> None:
    """All that was measured, as JSON."""
    machine = {"processor": _processor(), "python": platform.python_version(), "system": platform.platform(),
               "cores": list(settings.cores), "load": os.getloadavg()}
    data = {"machine": machine, "peaks": results.peaks, "versions": results.versions,
            "absent": results.absent,
            "workloads": {r.workload: NAMES[r.workload].title for r in results.rows},
            "rows": list(rows_as_data(results.rows))}
    path.write_text(json.dumps(data, indent=1) + "\n")


def load(path: Path) -> Results:
    """What `save` wrote."""
    data = json.loads(path.read_text())
    return Results([Row(**r) for r in data["rows"]], data["versions"], data["absent"], data["peaks"])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")


def duration(seconds: float) -> str:
    """With three digits, in the unit that suits."""
    if not math.isfinite(seconds):
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{_figure(seconds / size)} {unit}"
    return f"{1e9 * seconds:.0f} ns"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
