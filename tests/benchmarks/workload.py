"""What a workload is: seeded inputs, one function per framework, a float64 reference, the work it must do.

Frameworks differ in how they differentiate, update and compile; that is in `frameworks/`, once for each. A
workload says only what is computed: `tf1(tf, p, d)` (graphflow and TensorFlow alike), `jax(p, d)`,
`torch(p, d)`, `pytensor(p, d)` and `reference(p, d)` are the same function of parameters `p` and data `d`. A
framework whose function a workload lacks is skipped, with the reason in `skips`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

Arrays = dict[str, np.ndarray]


class Values(dict[str, Any]):
    """Named values of any framework, read as attributes."""

    __getattr__ = dict.__getitem__


@dataclasses.dataclass(frozen=True)
class Workload:
    """One thing to measure. Its fields are its sizes.

    mode:   "forward": the outputs; "gradient": a scalar and its gradients in the parameters;
            "sgd", "adam": the loss, and the parameters updated
    group:  workloads of one group share a process and count as one in the geometric mean
    dense:  its time is that of matrix products or convolutions
    images: arrays of rank 4 are images [b, h, w, c], or filters [k, k, in, out]
    sparse: torch's gradients are sparse
    small:  sizes for a test
    skips:  framework -> why it has no function, or must not run it
    """

    key: ClassVar[str]
    mode: ClassVar[str] = "forward"
    dense: ClassVar[bool] = False
    images: ClassVar[bool] = False
    sparse: ClassVar[bool] = False
    tolerance: ClassVar[float] = 1e-4
    small: ClassVar[dict[str, Any]] = {}
    skips: ClassVar[dict[str, str]] = {}

    @property
    def name(self) -> str:
        return self.key

    @property
    def group(self) -> str:
        return self.key

    @property
    def title(self) -> str:
        return (self.__doc__ or self.key).splitlines()[0].rstrip(".")

    def arrays(self, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
        """Parameters and data."""
        raise NotImplementedError

    def reference(self, p: Values, d: Values) -> Any:
        """The function in float64, of `tape.Node` where the mode differentiates, else of numpy arrays."""
        raise NotImplementedError

    def flops(self) -> float:
        """Arithmetic operations of one step, exp and its like counted as one."""
        raise NotImplementedError

    def moved(self, p: Arrays, d: Arrays) -> float:
        """Bytes that must cross memory in one step: inputs read once, results written once."""
        parameters, data = (float(sum(a.nbytes for a in arrays.values())) for arrays in (p, d))
        # Adam reads and writes the parameters and two slots
        return data + parameters * {"forward": 1, "gradient": 2, "sgd": 2, "adam": 6}[self.mode]

    @property
    def checked_steps(self) -> int:
        """How many first steps are compared: the loss after an update says whether the update was right."""
        return 3 if self.mode in ("sgd", "adam") else 1


def make_inputs(workload: Workload, seed: int = 0) -> tuple[Arrays, Arrays]:
    """The same arrays for every framework, at addresses that no framework has to copy from."""
    params, data = workload.arrays(np.random.default_rng(seed))
    return ({k: _aligned(v) for k, v in params.items()}, {k: _aligned(v) for k, v in data.items()})


def _aligned(array: np.ndarray) -> np.ndarray:
    block = np.empty(array.nbytes + 64, np.uint8)
    start = -block.ctypes.data % 64
    out = block[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * rng.standard_normal(shape, np.float32)).astype(np.float32)


def weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random weights that keep the size of what they multiply."""
    return normal(rng, *shape, scale=float(np.sqrt(2.0 / np.prod(shape[:-1]))))


def labels(rng: np.random.Generator, count: int, classes: int) -> np.ndarray:
    return rng.integers(0, classes, count).astype(np.int32)
