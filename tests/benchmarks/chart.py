"""The figures as a bar chart: one group of bars a workload, one bar a framework, in units of our step."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.figures import OURS, Figures, by_workload, peers_of
from tests.benchmarks.runner import Results


def draw(results: Results, path: Path) -> None:
    """Save a PNG. Bars are medians over graphflow's median, on a logarithmic axis: longer is slower."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    frameworks = [OURS, *peers_of(results.rows)]
    entries = {w: e for w, e in by_workload(results).items() if isinstance(e.get(OURS), Figures)}
    if not entries:
        return
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
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks([k + 0.4 - height / 2 for k in range(len(entries))], list(entries))
    axes.invert_yaxis()
    axes.set_xlabel("median step, in steps of graphflow (longer to the right is slower than graphflow)")
    axes.legend(loc="best", fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
