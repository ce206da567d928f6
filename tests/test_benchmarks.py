"""The benchmarks: what they measure computes what it should, and the harness runs from end to end."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.benchmarks import chart, figures, tape
from tests.benchmarks.frameworks import FRAMEWORKS
from tests.benchmarks.report import load, show
from tests.benchmarks.runner import Results, Row
from tests.benchmarks.worker import check
from tests.benchmarks.workload import make_inputs
from tests.benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent
# a network of batch 8 made small is that of batch 1
SMALL = {w.name: dataclasses.replace(w, **w.small) for w in WORKLOADS if not w.name.endswith(" batch 8")}


@pytest.mark.parametrize("name", SMALL)
def test_a_workload_agrees_with_its_reference(name):
    workload = SMALL[name]
    params, data = make_inputs(workload)
    try:
        error = check(workload, params, data, FRAMEWORKS["graphflow"])
    except AttributeError as e:
        pytest.skip(f"graphflow lacks what this needs: {e}")
    assert error <= min(workload.tolerance, 1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_the_work_is_counted(name):
    workload = SMALL[name]
    params, data = make_inputs(workload)
    assert workload.moved(params, data) > 0 and workload.flops() > 0


def test_inputs_are_the_same_every_time():
    for workload in SMALL.values():
        first, second = make_inputs(workload), make_inputs(workload)
        for a, b in zip(first, second, strict=True):
            assert all(np.array_equal(a[k], b[k]) and a[k].ctypes.data % 64 == 0 for k in a)


def test_the_references_gradients():
    """Against finite differences, through every function of the tape."""
    rng = np.random.default_rng(1)

    def loss(image, filters, w):
        x = tape.max_pool(tape.relu(tape.convolve(image, filters, 2)), 2, 2, 0, 1)
        x = tape.gelu(x.reshape(2, 12) @ w)
        x = tape.layer_norm(x, w[0], 0.5) / (1.5 + tape.sigmoid(x)) - tape.tanh(x).transpose(1, 0)[1, 0]
        return tape.cross_entropy(x, np.array([1, 0]))

    values = [rng.standard_normal(shape) for shape in ((2, 6, 7, 2), (3, 3, 2, 3), (12, 3))]
    leaves = [tape.Node(v, leaf=True) for v in values]
    for k, gradient in enumerate(tape.gradients(loss(*leaves), leaves)):
        for place in list(np.ndindex(gradient.shape))[::5]:
            ends = []
            for shift in (1e-6, -1e-6):
                moved = [v.copy() for v in values]
                moved[k][place] += shift
                ends.append(float(loss(*map(tape.Node, moved)).value))
            assert abs(gradient[place] - (ends[0] - ends[1]) / 2e-6) < 1e-7


def some_results() -> Results:
    def row(workload, framework, step):
        return Row(workload, framework, first_cold_s=[1.5], steps_s=[[step]] * 3, memory=[1 << 28], bytes=5.0,
                   flops=50.0, error=1e-7 if framework != "torch" else 0.5)

    rows = [row("sum axis 0", "graphflow", 1.0), row("sum axis 0", "jax", 4.0),
            row("sum axis 0", "torch", 9.0),
            row("sum axis 1", "graphflow", 1.0), row("sum axis 1", "jax", 4.0),
            row("mlp", "graphflow", 2.0), row("mlp", "jax", 2.0), Row("mlp", "torch", "failed: a reason")]
    return Results(rows, {"jax": "0.1"}, {}, {"bandwidth": 10.0, "flops": 100.0})


def test_the_report_and_the_chart(tmp_path):
    console = Console(record=True, width=150, file=io.StringIO())
    show(some_results(), console)
    lines = console.export_text().splitlines()
    cells = next(line.split() for line in lines if " torch " in line)
    # 9 steps of ours in one; 5 bytes at 10 a second or 50 operations at 100 would take half a second of 9
    assert cells[:2] == ["torch", "9.00"] and "9.00 x" in " ".join(cells) and "6 %" in " ".join(cells)
    assert "256 MiB" in " ".join(cells) and any("failed: a reason (mlp)" in line for line in lines)
    pytest.importorskip("matplotlib", reason="the chart needs it")
    assert chart.draw(some_results(), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_geometric_means_count_a_group_once():
    results = some_results()
    assert figures.geometric_mean(results) == (pytest.approx(2), 2)
    assert figures.geometric_mean(results, dense=False) == (pytest.approx(4), 1)
    assert figures.geometric_mean(results, "torch") == (pytest.approx(9), 1)
    assert figures.geometric_mean(results, "pytensor") is None


def test_the_command_measures_graphflow_alone(tmp_path):
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--peers", "", "--workloads",
               "call,logistic,digits", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    results = load(tmp_path / "benchmarks.json")
    assert [r.workload for r in results.rows] == ["call run", "call callable", "logistic", "digits"]
    for row in results.rows:
        assert not row.problem and row.error < 1e-5
        assert len(row.steps_s[0]) >= 3 and min(row.steps_s[0]) > 0
        assert row.first_cold_s[0] > row.steps_s[0][0] and row.memory[0] > 1 << 20
        assert row.workload in done.stdout
    machine = json.loads((tmp_path / "benchmarks.json").read_text())["machine"]
    assert machine["cores"] and (tmp_path / "benchmarks.png").exists() == ("\nchart:" in done.stdout)


def test_the_command_refuses_what_it_does_not_know():
    for wrong in (["--workloads", "mpl"], ["--peers", "theano"], ["--venv", "jax=/no/such"],
                  ["--cores", "x"]):
        command = [sys.executable, "-m", "tests.benchmarks", *wrong]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and wrong[1].split("=")[0] in done.stderr
