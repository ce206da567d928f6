"""The examples and the README's first script are real programs: they run as a user would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_digits_mlp_reaches_97_percent():
    text = run("examples/digits_mlp.py")
    epochs = re.findall(r"^epoch +(\d+)/30  loss [\d.]+  test accuracy +([\d.]+)%", text, re.M)
    assert [int(e) for e, _ in epochs] == list(range(1, 31))
    assert float(epochs[-1][1]) >= 97
    assert "loss:0" in text and "kernels" in text and "peak memory" in text


def test_digits_cnn_reaches_98_percent():
    text = run("examples/digits_cnn.py")
    epochs = re.findall(r"^epoch +(\d+)/20  loss [\d.]+  test accuracy +([\d.]+)%", text, re.M)
    assert [int(e) for e, _ in epochs] == list(range(1, 21))
    assert sorted(float(a) for _, a in epochs[-5:])[2] > 98, "one epoch alone depends on rounding"


def test_linear_regression_finds_the_line():
    slope, intercept = re.findall(r"y = ([\d.]+) x \+ ([\d.]+)", run("examples/linear_regression.py"))[-1]
    assert abs(float(slope) - 3) < 0.05 and abs(float(intercept) - 2) < 0.05


def test_custom_op_is_checked_and_fits():
    text = run("examples/custom_op.py")
    assert "all checked" in text and abs(float(re.findall(r"slope ([\d.]+)", text)[0]) - 3) < 0.05
    assert "1 kernels" in text, "the op fuses with what is around it"


def test_the_readmes_first_script():
    script = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[0]
    loss, *weights = map(float, re.findall(r"[\d.]+(?:e-?\d+)?", run("-c", script)))
    assert loss < 3 and len(weights) == 3 and min(weights) > 1


def test_the_debug_output_lists_kernels():
    done = subprocess.run([sys.executable, "examples/linear_regression.py"], cwd=ROOT, capture_output=True,
                          text=True, env={**os.environ, "GRAPHFLOW_DEBUG": "5"}, timeout=300)
    assert done.returncode == 0
    parts = ("compiled 18 ops into 1 kernels", "kernels for 18 ops, in one native call", "--- after prune",
             "--- nests", "vector for", "--- LLVM IR", "--- assembly", "ran 1 kernels in")
    for part in parts:
        assert part in done.stderr, part
