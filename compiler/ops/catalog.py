"""Every op: importing this module fills the REGISTRY."""

from __future__ import annotations

from graphflow.compiler.ops import (  # noqa: F401
    activations,
    broadcasting,
    control,
    core,
    elementwise,
    gathering,
    indexing,
    joining,
    linalg,
    logic,
    mathematics,
    nn,
    random,
    reductions,
    rows,
    scans,
    sequences,
    shapes,
)
