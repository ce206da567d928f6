"""One record per op, one file per family. `REGISTRY` and `catalog` have all; most programs use few."""

from graphflow.compiler.ir.registry import HOOKS
from graphflow.compiler.late import late_modules

__getattr__ = late_modules(
    __name__, "bits", "control", "convolution", "convolution_products", "equations", "gamma", "images",
    "normalization", "pooling", "resampling", "rows", "sampling", "scans", "sorting", "windows")


def _load_all() -> None:
    import graphflow.compiler.ops.catalog  # noqa: F401


HOOKS["load_ops"] = _load_all
