"""The figures as a bar chart: a group of bars for a workload, a bar for a peer, in steps of ours."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.figures import OURS, Figures, by_workload, peers_of
from tests.benchmarks.runner import Results


def draw(results: Results, path: Path) -> bool:
    """Save a PNG, if there are peers. Bars are their medians over graphflow's, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    frameworks = peers_of(results.rows)
    entries = {w: e for w, e in by_workload(results).items() if isinstance(e.get(OURS), Figures)}
    if not entries or not frameworks:
        return False
    height = 0.8 / len(frameworks)
    figure, axes = pyplot.subplots(figsize=(10, 1.2 + 0.16 * len(entries) * len(frameworks)))
    for k, framework in enumerate(frameworks):
        places, values = [], []
        for place, entry in enumerate(entries.values()):
            theirs, ours = entry.get(framework), entry[OURS]
            if isinstance(theirs, Figures) and isinstance(ours, Figures):
                places.append(place + k * height)
                values.append(theirs.step / ours.step)
        axes.barh(places, [v - 1 for v in values], height, left=1, label=framework)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g} x")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([k + 0.4 - height / 2 for k in range(len(entries))], list(entries))
    axes.invert_yaxis()
    axes.set_xlabel("median step, in steps of graphflow: right of 1, graphflow is faster")
    axes.legend(loc="best", fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True
