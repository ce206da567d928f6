"""One process, one framework, one group of workloads: prints a line of JSON for each.

    python -m tests.benchmarks.worker '{"framework": "graphflow", "group": "lenet", "seconds": 1, ...}'

It imports no more than the framework it measures: what the harness needs beyond numpy stays in other modules.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.benchmarks.frameworks import FRAMEWORKS, Framework, reference
from tests.benchmarks.workload import Arrays, Workload, make_inputs
from tests.benchmarks.workloads import GROUPS

# Learning rates of the steps that are checked: large enough to move the loss, small enough for rounding to
# stay small; Adam's first step is as large as the rate wherever a gradient is not exactly zero.
RATES = {"sgd": 0.5, "adam": 1e-4}
SAMPLE = 2e-4   # seconds: a sample lasts at least this long, and one call
SAMPLES = 2000


def main() -> None:
    task = json.loads(sys.argv[1])
    # the system's scheduler must not give one framework more than another
    os.sched_setaffinity(0, task["cores"])
    for line in _lines(task):
        print(json.dumps(line), flush=True)


def _lines(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if task["framework"] == "peaks":
        yield _peaks(len(task["cores"]))
        return
    if task["framework"] == "reference":
        yield from (_refer(w, task["folder"]) for w in GROUPS[task["group"]])
        return
    framework = FRAMEWORKS[task["framework"]]
    start = time.perf_counter()
    try:
        importlib.import_module(framework.package)
    except ImportError as e:
        yield {"skipped": f"not installed: {e}"}
        return
    seconds = time.perf_counter() - start
    if not task["group"]:
        yield {"version": version(framework.package)}
        return
    for workload in GROUPS[task["group"]]:
        yield {"workload": workload.name, "import": seconds, **_outcome(workload, framework, task)}


def rate(workload: Workload) -> float:
    return RATES.get(workload.mode, 0.0)


def version(package: str) -> str:
    """Of a framework; TensorFlow's CPU build is distributed under another name."""
    for name in (package, package + "-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "?"


def _outcome(workload: Workload, framework: Framework, task: dict[str, Any]) -> dict[str, Any]:
    """Figures, or what prevents them; the other workloads of the group go on."""
    try:
        return _one(workload, framework, task)
    except (AttributeError, NotImplementedError) as e:
        kind = "missing" if framework.package == "graphflow" else f"failed: {type(e).__name__}"
        return {"problem": f"{kind}: {_first_line(e)}"}
    except Exception as e:
        return {"problem": f"failed: {type(e).__name__}: {_first_line(e)}"}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "")


def _one(workload: Workload, framework: Framework, task: dict[str, Any]) -> dict[str, Any]:
    params, data = make_inputs(workload)
    check = task["check"]
    # a timed step is one of many: with a rate of zero they are all alike, and no state runs into denormals
    build = framework.build()
    start = time.perf_counter()
    step = build(workload, params, data, rate(workload) if check else 0.0, len(task["cores"]))
    result = step()
    line: dict[str, Any] = {"first": time.perf_counter() - start}
    if check:
        steps = [_arrays(result), *(_arrays(step()) for _ in range(workload.checked_steps - 1))]
        return line | {"digest": _digest(steps), "error": _error(steps, _load(task["folder"], workload.name))}
    del result
    return line | {"samples": sample(step, task["seconds"]), "memory": peak_memory(),
                   "bytes": workload.moved(params, data), "flops": workload.flops()}


def sample(step: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds a call, of many short samples, garbage being collected before and not within."""
    calls, once = 1, 0.0
    while once < SAMPLE and calls < 1 << 20:  # as many calls as make a sample; they also warm up
        once = _timed(step, calls)
        calls = calls if once >= SAMPLE else calls * 2
    times: list[float] = []
    gc.collect()
    gc.disable()
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < SAMPLES):
        times.append(_timed(step, calls) / calls)
    gc.enable()
    return times


def _timed(step: Callable[[], Any], calls: int) -> float:
    repeats = itertools.repeat(None, calls)
    start = time.perf_counter()
    for _ in repeats:
        step()
    return time.perf_counter() - start


def peak_memory() -> int:
    """Bytes: the most that was ever resident in this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def _arrays(result: Any) -> list[np.ndarray]:
    """Copies of the tensors that a step gave, in whatever form the framework gives them."""
    items = result if isinstance(result, (list, tuple)) else [result]
    return [np.array(i.detach().numpy() if hasattr(i, "detach") else i) for i in items if i is not None]


def _digest(steps: list[list[np.ndarray]]) -> str:
    import hashlib

    return hashlib.sha256(b"".join(a.tobytes() for arrays in steps for a in arrays)).hexdigest()[:16]


def _error(steps: list[list[np.ndarray]], wanted: list[list[np.ndarray]]) -> float:
    """The largest error, each array's relative to its largest magnitude."""
    return max(relative_error(a, b) for got, want in zip(steps, wanted, strict=True)
               for a, b in zip(got, want, strict=True))


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    if got.shape != want.shape:
        return float("inf")
    worst = float(np.abs(got - want).max(initial=0.0) / max(float(np.abs(want).max(initial=0.0)), 1e-30))
    return worst if np.isfinite(worst) else float("inf")


def _peaks(cores: int) -> dict[str, float]:
    """What figures are compared with: bytes and float32 operations a second, of copies and multiply-adds."""
    from graphflow.runtime.machine import limits

    most = limits(cores)
    return {"bandwidth": most.bandwidth(1 << 30), "flops": most.flops}


def _refer(workload: Workload, folder: str) -> dict[str, Any]:
    params, data = make_inputs(workload)
    steps = reference.outputs(workload, params, data, rate(workload))
    named = {f"{s}_{k}": a for s, arrays in enumerate(steps) for k, a in enumerate(arrays)}
    np.savez(_path(folder, workload.name), **named)
    return {"workload": workload.name, "steps": len(steps)}


def _load(folder: str, name: str) -> list[list[np.ndarray]]:
    with np.load(_path(folder, name)) as file:
        keys = sorted(tuple(map(int, k.split("_"))) for k in file.files)
        return [[file[f"{s}_{k}"] for _, k in group] for s, group in itertools.groupby(keys, lambda k: k[0])]


def _path(folder: str, name: str) -> str:
    return os.path.join(folder, name.replace(" ", "_") + ".npz")


def check(workload: Workload, params: Arrays, data: Arrays, framework: Framework) -> float:
    """The error of a framework's first steps against the reference, in this process."""
    step = framework.build()(workload, params, data, rate(workload), 1)
    steps = [_arrays(step()) for _ in range(workload.checked_steps)]
    return _error(steps, reference.outputs(workload, params, data, rate(workload)))


if __name__ == "__main__":
    main()
