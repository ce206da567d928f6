"""What the raw figures say: medians, ratios, shares of the machine's limits, geometric means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.benchmarks.runner import Results, Row
from tests.benchmarks.workloads import WORKLOADS

OURS = "graphflow"
NAMES = {w.name: w for w in WORKLOADS}


@dataclass(frozen=True)
class Figures:
    """Of one workload in one framework, in seconds and bytes; `step` is the median of the rounds' medians."""

    row: Row
    step: float
    p10: float
    p90: float
    import_s: float
    cold: float
    warm: float
    memory: float


def figures(row: Row) -> Figures | None:
    """None where nothing was measured."""
    if row.problem or not row.steps_s:
        return None
    every = np.concatenate(row.steps_s)
    return Figures(row, _median([float(np.median(s)) for s in row.steps_s]), float(np.percentile(every, 10)),
                   float(np.percentile(every, 90)), _median(row.import_s), _median(row.first_cold_s),
                   _median(row.first_warm_s), _median(row.memory))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else math.nan


def by_workload(results: Results) -> dict[str, dict[str, Figures | Row]]:
    """workload -> framework -> figures, or the row that says why there are none"""
    found: dict[str, dict[str, Figures | Row]] = {}
    for row in results.rows:
        found.setdefault(row.workload, {})[row.framework] = figures(row) or row
    return found


def best_peer(entries: dict[str, Figures | Row]) -> Figures | None:
    peers = [f for key, f in entries.items() if key != OURS and isinstance(f, Figures)]
    return min(peers, key=lambda f: f.step, default=None)


def speedup(entries: dict[str, Figures | Row], peer: str = "") -> float | None:
    """How many of our steps fit into one of a peer, by default the fastest; above 1 we are faster."""
    ours, theirs = entries.get(OURS), entries.get(peer) if peer else best_peer(entries)
    if not (isinstance(ours, Figures) and isinstance(theirs, Figures)):
        return None
    return theirs.step / ours.step


def geometric_mean(results: Results, peer: str = "", dense: bool = True) -> tuple[float, int] | None:
    """Of the speedups, and of how many groups, whose workloads count as one. `dense`: with products' too."""
    groups: dict[str, list[float]] = {}
    for name, entries in by_workload(results).items():
        ratio = speedup(entries, peer)
        if ratio is not None and (dense or not NAMES[name].dense):
            groups.setdefault(NAMES[name].group, []).append(math.log(ratio))
    means = [float(np.mean(logs)) for logs in groups.values()]
    return (math.exp(float(np.mean(means))), len(means)) if means else None


def share(f: Figures, peaks: dict[str, float]) -> float:
    """Of the time that the slower of the machine's limits would allow; 1 cannot be beaten out of cache."""
    needed = max(f.row.bytes / peaks["bandwidth"], f.row.flops / _flops_peak(f.row.workload, peaks))
    return needed / f.step


def _flops_peak(workload: str, peaks: dict[str, float]) -> float:
    return peaks["flops"] / (2 if " f64 " in workload else 1)


def peers_of(rows: Iterable[Row]) -> list[str]:
    return [k for k in dict.fromkeys(r.framework for r in rows) if k != OURS]
