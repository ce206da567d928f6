"""Runs every (workload, framework) in processes of their own, in turns, and collects what they print."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.frameworks import FRAMEWORKS, Framework
from tests.benchmarks.workloads import GROUPS

ROOT = Path(__file__).resolve().parents[2]
THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
                 "NPROC")  # the last is XLA's
Say = Callable[[str, float, bool], None]


@dataclass(frozen=True)
class Settings:
    """What to run, and how: `rounds` of warm processes, each timed for `seconds`, after `cold` ones."""

    groups: Sequence[str]
    frameworks: Sequence[str]
    cores: Sequence[int]
    rounds: int = 3
    cold: int = 1
    seconds: float = 1.0
    timeout: float = 900.0
    pythons: dict[str, str] = field(default_factory=dict)

    def python(self, framework: Framework | None) -> str:
        if framework is None:
            return sys.executable
        return self.pythons.get(framework.key) or self.pythons.get(framework.venv) or sys.executable


@dataclass
class Row:
    """What is known of one workload in one framework. `problem` says why there are no figures."""

    workload: str
    framework: str
    problem: str = ""
    import_s: list[float] = field(default_factory=list)
    first_cold_s: list[float] = field(default_factory=list)
    first_warm_s: list[float] = field(default_factory=list)
    steps_s: list[list[float]] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    bytes: float = 0.0
    flops: float = 0.0
    error: float | None = None

    def take(self, line: dict[str, Any]) -> None:
        self.problem = self.problem or line.get("problem", "")
        if self.problem:
            return
        self.import_s.append(line["import"])
        if "samples" not in line:
            self.first_cold_s.append(line["import"] + line["first"])
            self.digests.append(line["digest"])
            self.error = max(self.error or 0.0, line["error"])
            return
        self.first_warm_s.append(line["import"] + line["first"])
        self.steps_s.append(line["samples"])
        self.memory.append(line["memory"])
        self.bytes, self.flops = line["bytes"], line["flops"]


@dataclass
class Results:
    rows: list[Row]
    versions: dict[str, str]
    absent: dict[str, str]
    peaks: dict[str, float]


class Failed(Exception):
    """A process that did not reach its end: the last thing that it said, and the results it had by then."""

    def __init__(self, reason: str, lines: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__(reason)
        self.lines = lines


def run(settings: Settings, say: Say) -> Results:
    """Measure, saying what is done, how much of the whole that is, and whether the line is a result."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        say("measuring what the machine can do", 0.0, False)
        peaks = _process(settings, None, {"framework": "peaks"}, Path(folder))[0]
        versions, absent = _probe(settings, Path(folder))
        for key, reason in absent.items():
            say(f"{key}: {reason}", 0.0, True)
        rows: list[Row] = []
        for k, group in enumerate(settings.groups):
            rows += _group(settings, group, list(versions), Path(folder),
                           lambda text, part, kept, k=k: say(text, (k + part) / len(settings.groups), kept))
        return Results(rows, versions, absent, peaks)


def _probe(settings: Settings, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Which frameworks there are; importing them also brings their files into memory."""
    versions, absent = {}, {}
    for key in settings.frameworks:
        try:
            line = _process(settings, FRAMEWORKS[key], {"framework": key, "group": ""}, folder)[0]
        except Failed as e:
            line = {"skipped": str(e)}
        if "skipped" in line:
            absent[key] = line["skipped"]
        else:
            versions[key] = line["version"]
    return versions, absent


def _group(settings: Settings, group: str, frameworks: Sequence[str], folder: Path,
           say: Say) -> list[Row]:
    """All rounds of one group; the frameworks take turns, each round beginning with another."""
    say(f"{group}: reference", 0.0, False)
    _process(settings, None, {"framework": "reference", "group": group, "folder": str(folder)}, folder)
    rows = {(w.name, f): Row(w.name, f, _cannot(w, FRAMEWORKS[f])) for f in frameworks for w in GROUPS[group]}
    turns = [(r, f) for r in range(settings.cold + settings.rounds) for f in _rotated(frameworks, r)]
    for k, (number, framework) in enumerate(turns):
        mine = {w.name: rows[w.name, framework] for w in GROUPS[group]}
        if all(row.problem for row in mine.values()):
            continue
        cold = number < settings.cold
        say(f"{group}: {framework}, process {number + 1}", k / len(turns), False)
        _turn(settings, FRAMEWORKS[framework], group, cold, folder, mine)
    for (name, key), row in rows.items():
        say(f"{name}: {key}: " + (row.problem or _said(row)), 1.0, True)
    return list(rows.values())


def _turn(settings: Settings, framework: Framework, group: str, cold: bool, folder: Path,
          rows: dict[str, Row]) -> None:
    cache = folder / "cache" / framework.key
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    task = {"framework": framework.key, "group": group, "check": cold, "seconds": settings.seconds,
            "folder": str(folder)}
    problem = ""
    try:
        lines: Sequence[dict[str, Any]] = _process(settings, framework, task, cache)
    except Failed as e:
        lines, problem = e.lines, f"failed: {e}"
    for line in lines:
        rows[line["workload"]].take(line)
    for name in rows.keys() - {line["workload"] for line in lines}:
        rows[name].problem = rows[name].problem or problem


def _process(settings: Settings, framework: Framework | None, task: dict[str, Any],
             cache: Path) -> list[dict[str, Any]]:
    command = [settings.python(framework), "-m", "tests.benchmarks.worker",
               json.dumps({**task, "cores": list(settings.cores)})]
    try:
        done = subprocess.run(command, cwd=ROOT, env=_environment(settings, cache), capture_output=True,
                              text=True, timeout=settings.timeout,
                              preexec_fn=lambda: os.sched_setaffinity(0, settings.cores))
    except subprocess.TimeoutExpired as e:
        raise Failed(f"no result after {settings.timeout:.0f} s") from e
    except OSError as e:
        raise Failed(str(e)) from e
    lines = []
    for text in done.stdout.splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # frameworks print things too
            lines.append(json.loads(text))
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        raise Failed(said[-1] if said else f"exit status {done.returncode}", lines)
    return lines


def _environment(settings: Settings, cache: Path) -> dict[str, str]:
    """As many threads for everyone as there are cores; caches of compiled code in a directory of ours."""
    count = str(len(settings.cores))
    return {
        **os.environ, **dict.fromkeys(THREAD_COUNTS, count),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "",
        "GRAPHFLOW_CACHE": str(cache / "graphflow"),
        "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if len(settings.cores) > 1 else 'false'}",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"), "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'},floatX=float32",
        "NUMBA_CACHE_DIR": str(cache / "numba"),
    }


def _cannot(workload: Any, framework: Framework) -> str:
    if framework.key in workload.skips:
        return f"skipped: {workload.skips[framework.key]}"
    return "" if hasattr(workload, framework.method) else "skipped: it has no function for this workload"


def _rotated(items: Sequence[str], by: int) -> list[str]:
    by %= max(len(items), 1)
    return [*items[by:], *items[:by]]


def _said(row: Row) -> str:
    steps = sorted(s for samples in row.steps_s for s in samples)
    if not steps:
        return "no samples"
    return f"{1e6 * steps[len(steps) // 2]:,.1f} us a step, error {row.error:.1e}"


def rows_as_data(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Rows as plain data, samples rounded: their sixth digit is noise."""
    for row in rows:
        yield {**vars(row), "steps_s": [[float(f"{s:.6g}") for s in samples] for samples in row.steps_s]}
