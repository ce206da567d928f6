"""tf.random: random tensors. Each run draws anew; seeds make a session repeatable."""

from __future__ import annotations

from typing import Any

from graphflow.basics import get_seed, name_scope, set_random_seed
from graphflow.compiler.errors import UnsupportedError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import DType, as_dtype, float32, int64
from graphflow.compiler.ir.explain import misfit
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import elementwise, random, reductions
from graphflow.missing import missing_names
from graphflow.renamed import as_shape

__all__ = ["get_seed", "multinomial", "categorical", "normal", "random_normal", "random_uniform",
           "set_random_seed", "truncated_normal", "uniform"]


def uniform(shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, seed: int | None = None,
            name: str | None = None) -> Tensor:
    """Uniform in [minval, maxval); maxval is 1 by default for floats, and needed for integers."""
    wanted = as_dtype(dtype)
    if maxval is None and wanted.is_integer:
        raise ValueError("random_uniform: integers need a maxval")
    high = 1 if maxval is None else maxval
    label = name or "random_uniform"
    _check_numbers("random_uniform", minval=minval, maxval=high)
    if is_tensor(minval, high):
        if wanted.is_integer:
            raise UnsupportedError("random_uniform: the limits of random integers must be plain numbers")
        low, top = as_tensor(minval, wanted), as_tensor(high, wanted)
        return _scaled(random.draw(random.random_uniform, as_shape(shape), wanted, seed, None, minval=0,
                                   maxval=1),
                       top - low, low, label)
    return random.draw(random.random_uniform, as_shape(shape), wanted, seed, label, minval=minval,
                       maxval=high)


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, seed: int | None = None,
           name: str | None = None) -> Tensor:
    """Normal with a mean and a standard deviation."""
    return _bell(random.random_normal, shape, mean, stddev, as_dtype(dtype), seed, name or "random_normal")


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32,
                     seed: int | None = None, name: str | None = None) -> Tensor:
    """Normal, cut off at two standard deviations from the mean."""
    return _bell(random.truncated_normal, shape, mean, stddev, as_dtype(dtype), seed,
                 name or "truncated_normal")


def _bell(record: Any, shape: Any, mean: Any, stddev: Any, dtype: DType, seed: int | None,
          name: str) -> Tensor:
    _check_numbers(record.name, mean=mean, stddev=stddev)
    if not is_tensor(mean, stddev):
        return random.draw(record, as_shape(shape), dtype, seed, name, mean=float(mean), stddev=float(stddev))
    standard = random.draw(record, as_shape(shape), dtype, seed, None, mean=0.0, stddev=1.0)
    return _scaled(standard, as_tensor(stddev, dtype), as_tensor(mean, dtype), name)


def _check_numbers(function: str, **values: Any) -> None:
    for what, value in values.items():
        if isinstance(value, (str, bytes)) or value is None:
            raise misfit(function, f"{what} must be a number or a tensor of one, not {value!r}")


def is_tensor(*values: Any) -> bool:
    return any(hasattr(v, "get_shape") or getattr(v, "ndim", 0) for v in values)


def _scaled(t: Tensor, span: Tensor, low: Tensor, name: str) -> Tensor:
    result: Tensor = elementwise.add(t * span, low, name=name)
    return result


def categorical(logits: Any, num_samples: Any, dtype: Any = int64, seed: int | None = None,
                name: str | None = None) -> Tensor:
    """Classes drawn with probabilities softmax(logits).

    Shapes:  logits [batch, classes] -> [batch, num_samples]
    The class with the largest logit - log(-log(u)), u being uniform, has that distribution (Gumbel 1954).
    """
    from graphflow.arrays import expand_dims, shape
    from graphflow.math import log

    with name_scope(name, "multinomial", [logits]):
        x = as_tensor(logits)
        size = shape(x)
        drawn = uniform([size[0], num_samples, size[1]], 1e-20, 1.0, x.dtype, seed)
        scores = expand_dims(x, 1) - log(-log(drawn))
        result: Tensor = reductions.argmax(scores, axis=2, output_type=as_dtype(dtype))
        return result


def multinomial(logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None,
                output_dtype: Any = None) -> Tensor:
    """`categorical` in the argument order of TF 0.x."""
    return categorical(logits, num_samples, int64 if output_dtype is None else output_dtype, seed, name)


random_uniform = uniform
random_normal = normal


__getattr__ = missing_names("graphflow.random")
