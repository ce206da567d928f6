"""Measure graphflow and its peers on the same workloads, each in processes of its own.

    python -m tests.benchmarks --list
    python -m tests.benchmarks --workloads mlp,lstm --peers jax,torch --cores 0,1 --venv jax=/path/to/python
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks import chart, report
from tests.benchmarks.figures import OURS
from tests.benchmarks.frameworks import FRAMEWORKS
from tests.benchmarks.runner import Results, Settings, run
from tests.benchmarks.workloads import GROUPS

WIDTH = 150


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    if args.list:
        _list(console)
        return 0
    settings = _settings(args)
    results = _measure(settings, console)
    report.show(results, console)
    args.out.mkdir(parents=True, exist_ok=True)
    report.save(results, settings, args.out / "benchmarks.json")
    console.print(f"raw figures: {args.out / 'benchmarks.json'}")
    if importlib.util.find_spec("matplotlib"):
        if chart.draw(results, args.out / "benchmarks.png"):
            console.print(f"chart: {args.out / 'benchmarks.png'}")
    else:
        console.print("no chart: matplotlib is not installed (pip install matplotlib)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workloads", type=_names(GROUPS), default=list(GROUPS), help="names, with commas")
    parser.add_argument("--peers", type=_names(FRAMEWORKS), default=[f for f in FRAMEWORKS if f != OURS],
                        help="frameworks beside graphflow; '' for none")
    parser.add_argument("--rounds", type=int, default=3, help="warm processes of each (default 3)")
    parser.add_argument("--cold", type=int, default=1, help="processes with empty caches, first (default 1)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of samples in each process (default 1)")
    parser.add_argument("--quick", action="store_true", help="one round of 0.1 s: to see that all works")
    parser.add_argument("--cores", type=_cores, default=[min(os.sched_getaffinity(0))],
                        help='"0" or "0,1": all processes run on these; default the first')
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="where JSON and chart go")
    parser.add_argument("--venv", action="append", default=[], metavar="KEY=PYTHON", type=_interpreter,
                        help="the interpreter that has a framework; may be repeated")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one process (default 900)")
    parser.add_argument("--list", action="store_true", help="list workloads and frameworks, and stop")
    return parser


def _names(known: Sequence[str] | dict[str, object]) -> object:
    def names(text: str) -> list[str]:
        found = [n.strip() for n in text.split(",") if n.strip()]
        for name in found:
            if name not in known:
                raise argparse.ArgumentTypeError(f"no {name!r}; there are {', '.join(known)}")
        return found
    return names


def _cores(text: str) -> list[int]:
    try:
        cores = [int(c) for c in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers with commas, as in 0,1; not {text!r}") from None
    if not set(cores) <= os.sched_getaffinity(0):
        raise argparse.ArgumentTypeError(f"there are {sorted(os.sched_getaffinity(0))}, not {text}")
    return cores


def _interpreter(text: str) -> tuple[str, str]:
    key, _, python = text.partition("=")
    if key not in FRAMEWORKS or not os.access(python, os.X_OK):
        keys = ", ".join(FRAMEWORKS)
        raise argparse.ArgumentTypeError(f"KEY=PYTHON: a key of {keys} and a program; not {text!r}")
    return key, python


def _settings(args: argparse.Namespace) -> Settings:
    rounds, seconds = (1, 0.1) if args.quick else (max(args.rounds, 1), args.seconds)
    frameworks = [OURS, *(p for p in args.peers if p != OURS)]
    return Settings(args.workloads, frameworks, args.cores, rounds, max(args.cold, 1), seconds, args.timeout,
                    dict(args.venv))


def _measure(settings: Settings, console: Console) -> Results:
    """With a bar on a terminal, and a line for each result everywhere."""
    columns = (BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(),
               TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)

        def say(text: str, done: float, kept: bool) -> None:
            progress.update(task, completed=done, description=text)
            if kept:
                console.print(text, highlight=False)
        return run(settings, say)


def _list(console: Console) -> None:
    for group, members in GROUPS.items():
        more = f" and {len(members) - 1} more" if members[1:] else ""
        console.print(f"{group:20} {members[0].title}{more}")
    console.print("frameworks: " + ", ".join(FRAMEWORKS))


if __name__ == "__main__":
    sys.exit(main())
