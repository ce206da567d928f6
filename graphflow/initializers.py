"""Initializers: functions (shape, dtype) -> the initial value of a variable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow import random
from graphflow.basics import constant
from graphflow.compiler.errors import DTypeError
from graphflow.compiler.ir.dtypes import DType, as_dtype, float32
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import shapes
from graphflow.missing import missing_names

_FILLED_FROM = 1000  # elements


class Initializer:
    """The base of initializers; a subclass gives `make(shape, dtype)`."""

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        return self.make([int(d) for d in shape], self.dtype if dtype is None else as_dtype(dtype))

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer."""
        return {k: v.name if isinstance(v, DType) else v for k, v in vars(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        return cls(**config)


def _filled(shape: list[int], value: np.ndarray[Any, Any], name: str) -> Tensor:
    """One value everywhere. An operation makes a large one: as a constant it would be copied and hashed."""
    if math.prod(shape) < _FILLED_FROM:
        return constant(np.full(shape, value), name=name)
    result: Tensor = shapes.fill(value, dims=tuple(shape), name=name)
    return result


class Zeros(Initializer):
    """All zeros (False for bool)."""

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        return _filled(shape, np.zeros((), dtype.numpy), "zeros")


class Ones(Initializer):
    """All ones."""

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        return _filled(shape, np.ones((), dtype.numpy), "ones")


class Constant(Initializer):
    """One value everywhere, or an array or list of the values."""

    def __init__(self, value: Any = 0, dtype: Any = float32, verify_shape: bool = False) -> None:
        super().__init__(dtype)
        self.value = value
        self.verify_shape = verify_shape

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None,
                 verify_shape: bool | None = None) -> Tensor:
        verify = self.verify_shape if verify_shape is None else verify_shape
        dtype = self.dtype if dtype is None else as_dtype(dtype)
        value = np.asarray(self.value, dtype.numpy)
        if value.size == 1 and not verify:
            return _filled([int(d) for d in shape], value.reshape(()), "Const")
        return constant(value, dtype, list(shape), verify_shape=verify)


class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: Any = 0, maxval: Any = None, seed: int | None = None,
                 dtype: Any = float32) -> None:
        super().__init__(dtype)
        self.minval = minval
        self.maxval = maxval
        self.seed = seed

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        high = 1 if self.maxval is None and dtype.is_floating else self.maxval
        return random.uniform(shape, self.minval, high, dtype, self.seed)


class RandomNormal(Initializer):
    """Normal with a mean and a standard deviation."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None,
                 dtype: Any = float32) -> None:
        super().__init__(dtype)
        self.mean = mean
        self.stddev = stddev
        self.seed = seed

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        return random.normal(shape, self.mean, self.stddev, _float(dtype), self.seed)


class TruncatedNormal(RandomNormal):
    """Normal; values beyond two standard deviations are drawn again."""

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        return random.truncated_normal(shape, self.mean, self.stddev, _float(dtype), self.seed)


class UniformUnitScaling(Initializer):
    """Uniform in +-factor * sqrt(3 / inputs), which keeps the scale of a layer's output."""

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(dtype)
        self.factor = factor
        self.seed = seed

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        limit = self.factor * math.sqrt(3 / max(1.0, float(np.prod(shape[:-1]))))
        return random.uniform(shape, -limit, limit, _float(dtype), self.seed)


class VarianceScaling(Initializer):
    """Random with variance scale / n, n being the inputs, the outputs or their mean.

    mode          "fan_in", "fan_out" or "fan_avg"
    distribution  "truncated_normal" (also called "normal"), "untruncated_normal" or "uniform"
    Source:       He et al. 2015; Glorot and Bengio 2010
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal",
                 seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(dtype)
        if scale <= 0:
            raise ValueError(f"variance_scaling_initializer: scale must be positive, not {scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"variance_scaling_initializer: mode is fan_in, fan_out, fan_avg, not {mode!r}")
        if distribution not in ("normal", "truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(f"variance_scaling_initializer: there is no distribution {distribution!r}")
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = seed

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        inputs, outputs = fans(shape)
        n = {"fan_in": inputs, "fan_out": outputs, "fan_avg": (inputs + outputs) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random.uniform(shape, -limit, limit, _float(dtype), self.seed)
        if self.distribution == "untruncated_normal":
            return random.normal(shape, 0.0, math.sqrt(variance), _float(dtype), self.seed)
        # a standard normal cut at two deviations has this deviation
        return random.truncated_normal(shape, 0.0, math.sqrt(variance) / 0.87962566103423978, _float(dtype),
                                       self.seed)


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """Inputs and outputs of one unit, for the shape of a weight [..., in, out]."""
    if len(shape) < 2:
        n = float(shape[0]) if shape else 1.0
        return n, n
    field = float(np.prod(shape[:-2]))
    return field * shape[-2], field * shape[-1]


class GlorotUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / (inputs + outputs)). Source: Glorot and Bengio 2010."""

    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (inputs + outputs). Source: Glorot and Bengio 2010."""

    def __init__(self, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)


class Identity(Initializer):
    """A matrix with `gain` on the diagonal."""

    def __init__(self, gain: float = 1.0, dtype: Any = float32) -> None:
        super().__init__(dtype)
        self.gain = gain

    def make(self, shape: list[int], dtype: DType) -> Tensor:
        if len(shape) != 2:
            raise ValueError(f"identity_initializer makes matrices, not the shape {shape}")
        return constant(np.eye(*shape, dtype=dtype.numpy) * dtype.numpy.type(self.gain))


def he_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance 2 / inputs. Source: He et al. 2015."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform of variance 2 / inputs. Source: He et al. 2015."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance 1 / inputs."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform of variance 1 / inputs."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


def _float(dtype: DType) -> DType:
    if not dtype.is_floating:
        raise DTypeError(f"a random initializer draws floats, not {dtype.name}")
    return dtype


zeros = zeros_initializer = Zeros
ones = ones_initializer = Ones
constant_initializer = Constant
random_uniform = random_uniform_initializer = RandomUniform
random_normal = random_normal_initializer = RandomNormal
truncated_normal = truncated_normal_initializer = TruncatedNormal
uniform_unit_scaling = uniform_unit_scaling_initializer = UniformUnitScaling
variance_scaling = variance_scaling_initializer = VarianceScaling
glorot_uniform = glorot_uniform_initializer = GlorotUniform
glorot_normal = glorot_normal_initializer = GlorotNormal
identity = identity_initializer = Identity


__getattr__ = missing_names("graphflow.initializers")
