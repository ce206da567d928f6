"""The frameworks that can be measured. Each is imported in the process that measures it, never here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Framework:
    """`method`: a workload's function for it; `builder`: module:function; `venv`: whose interpreter."""

    key: str
    package: str
    method: str
    builder: str
    venv: str = ""

    def build(self) -> Callable[..., Callable[[], Any]]:
        module, function = self.builder.split(":")
        found: Callable[..., Callable[[], Any]] = getattr(
            importlib.import_module(f"tests.benchmarks.frameworks.{module}"), function)
        return found


_LISTED = (
    Framework("graphflow", "graphflow", "tf1", "tf1:graphflow"),
    Framework("jax", "jax", "jax", "jax:build"),
    Framework("torch", "torch", "torch", "torch:eager"),
    Framework("torch.compile", "torch", "torch", "torch:compiled", "torch"),
    Framework("tensorflow", "tensorflow", "tf1", "tf1:tensorflow"),
    Framework("pytensor", "pytensor", "pytensor", "pytensor:build"),
    Framework("onnxruntime", "onnxruntime", "onnx", "onnx:build"),
)
FRAMEWORKS = {f.key: f for f in _LISTED}
