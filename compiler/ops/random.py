"""Random numbers. A compiled graph has pure ops on a key in their place: the same key gives the same numbers.

The generator is Philox 4x32-10 (Salmon et al. 2011): a block cipher of a counter, so that every element is
computed on its own, in any order and on any device.

key: uint32[4], two words of the session's entropy and two of its run counter
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint32,
    uint64,
)
from graphflow.compiler.ir.explain import dtype_error
from graphflow.compiler.ir.graph import Graph, Operation, get_default_graph
from graphflow.compiler.ir.opdef import REQUIRED, OpDef
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Indexed, Let, Load, pointwise_op
from graphflow.compiler.ops.core import cast, literal
from graphflow.compiler.ops.elementwise import floor
from graphflow.compiler.ops.mathematics import erfinv
from graphflow.compiler.ops.rules import check_kind, equal_dims, open_dims
from graphflow.compiler.ops.samples import Sample

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10


# Philox, once on scalar expressions and once on arrays: the same function, since both have + * ^ and mulhi

def philox(counter: tuple[Any, Any, Any, Any], key: tuple[Any, Any], mulhi: Any, word: Any) -> tuple[Any,
                                                                                                     ...]:
    """Ten rounds; `word` makes a uint32 of a Python int."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    m0, m1, w0, w1 = map(word, (_M0, _M1, _W0, _W1))
    for _ in range(_ROUNDS):
        c0, c1, c2, c3 = mulhi(m1, c2) ^ c1 ^ k0, m1 * c2, mulhi(m0, c0) ^ c3 ^ k1, m0 * c0
        k0, k1 = k0 + w0, k1 + w1
    return c0, c1, c2, c3


def _word(value: int) -> E.Expr:
    return E.const(value & 0xFFFFFFFF, uint32)


def _seed_words(seed: Any, k0: Any, k1: Any, word: Any) -> tuple[Any, Any]:
    return (k0, k1) if seed is None else (word(seed[0]), word(seed[1]))


def _bits_type(op: Operation) -> TensorType:
    if op.key.dtype is not uint32:
        raise dtype_error(op, "(C1): a key is four words of uint32")
    equal_dims(op, (op.key, (4,)))
    return TensorType(uint32, None if isinstance(op.shape, Tensor) else open_dims(op.shape))


def _bits_element(op: Operation, at: E.Index, load: Load, let: Let) -> E.Expr:
    """`word` is which of the four results is taken."""
    linear: Any = 0
    for i, d in zip(at, op.out.type.known_dims, strict=True):
        linear = linear * d + i
    words = philox_element(op, E.index(linear), [load(0, (k,)) for k in range(4)])
    word: int = op.word
    return words[word]


def philox_element(op: Operation, position: E.Expr, key: list[E.Expr]) -> tuple[E.Expr, ...]:
    """Four words of bits for an int64 position in the op's stream; the counter is (position, stream, run)."""
    k0, k1 = _seed_words(op.seed, key[0], key[1], _word)
    high = E.cast(E.call("shr", position, 32), uint32)
    return philox((E.cast(position, uint32), _word(op.stream), key[2], key[3]), (k0, k1 + high),
                  lambda a, b: E.call("mulhi", a, b), _word)


def _mulhi(a: Any, b: Any) -> Any:
    return ((np.uint64(a) * b.astype(np.uint64)) >> np.uint64(32)).astype(np.uint32)


def _bits_numpy(key: Any, shape: Any, seed: Any, stream: int, word: int) -> Any:
    return philox_numpy(key, np.arange(math.prod(shape)).reshape(shape), seed, stream)[word]


def philox_numpy(key: Any, position: Any, seed: Any, stream: int) -> tuple[Any, ...]:
    """`philox_element` on arrays."""
    def make(value: int) -> Any:
        return np.uint32(value & 0xFFFFFFFF)

    position = position.astype(np.uint64)
    with np.errstate(over="ignore"):
        k0, k1 = _seed_words(seed, key[0], key[1], make)
        high = (position >> np.uint64(32)).astype(np.uint32)
        full = [np.broadcast_to(v, position.shape).astype(np.uint32) for v in (make(stream), key[2], key[3])]
        return philox((position.astype(np.uint32), *full), (k0, k1 + high), _mulhi, make)


SAMPLE_KEY = np.array([0x243F6A88, 0x85A308D3, 5, 0], np.uint32)
random_bits = OpDef(
    "random_bits", "key", infer=_bits_type, attrs={"shape": REQUIRED, "seed": None, "stream": 0, "word": 0},
    dim_attrs=("shape",), lower=Indexed(_bits_element), numpy=_bits_numpy,
    samples=(Sample((SAMPLE_KEY,), {"shape": (3, 4)}), Sample((SAMPLE_KEY,), {"shape": (), "stream": 7}),
             Sample((SAMPLE_KEY,), {"shape": (5,), "seed": (1, 2), "word": 1}),
             Sample((SAMPLE_KEY,), {"shape": (0, 2)})),
    doc="Uniform bits from Philox 4x32-10.")

STEP_SEED = (0x6C6F6F70, 0x73746570)  # of the key's step from one iteration of a loop to the next


def next_iterations_key(key: Any) -> Any:
    """The key's step, on arrays."""
    return np.concatenate([key[:2], _bits_numpy(key, (2,), STEP_SEED, 0, 0)])


# From bits to numbers

def _as_asked(op: Operation) -> TensorType:
    check_kind(op, "int")
    return TensorType(op.dtype, equal_dims(op, op.operands))


def _unit_element(op: Operation, *bits: E.Expr) -> E.Expr:
    """float32 takes 24 bits of one word; inside (0, 1) 23, since 24 and a half would round up to 1."""
    half = 0.5 if op.inside else 0.0
    if op.dtype is float64:
        high, low = (E.cast(b >> 6, float64) for b in bits)
        return (high * 2.0**26 + low + half) * 2.0**-52
    keep = 23 if op.inside else 24
    return (E.cast(bits[0] >> (32 - keep), float32) + half) * 2.0**-keep


def _unit_numpy(*bits: Any, dtype: DType, inside: bool) -> Any:
    half = 0.5 if inside else 0.0
    if dtype is float64:
        high, low = ((b >> np.uint32(6)).astype(np.float64) for b in bits)
        return (high * 2.0**26 + low + half) * 2.0**-52
    keep = 23 if inside else 24
    return ((bits[0] >> np.uint32(32 - keep)).astype(np.float32) + np.float32(half)) * np.float32(2.0**-keep)


_BITS = np.array([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 123456789], np.uint32)
unit_interval = OpDef(
    "unit_interval", "*bits", infer=_as_asked, attrs={"dtype": float32, "inside": False}, numpy=_unit_numpy,
    lower=pointwise_op(_unit_element),
    samples=(Sample((_BITS,)), Sample((_BITS,), {"inside": True}),
             Sample((_BITS, _BITS[::-1]), {"dtype": float64}),
             Sample((_BITS, _BITS), {"dtype": float64, "inside": True})),
    doc="Numbers of [0, 1), or of (0, 1) with `inside`, from one word of random bits, or two for float64.")


def _below_element(op: Operation, high: E.Expr, low: E.Expr) -> E.Expr:
    """int32: the high half of bits * range, which needs no division. int64: 64 bits modulo the range."""
    span = op.maxval - op.minval
    if op.dtype is int32 and span < 2**32:
        return E.cast(E.call("mulhi", high, span) + (op.minval & 0xFFFFFFFF), int32)
    bits = (E.cast(high, uint64) << 32) | E.cast(low, uint64)
    return E.cast(E.call("floormod", bits, span) + (op.minval & (2**64 - 1)), op.dtype)


def _below_numpy(high: Any, low: Any, minval: int, maxval: int, dtype: DType) -> Any:
    span = maxval - minval
    with np.errstate(over="ignore"):
        if dtype is int32 and span < 2**32:
            return (_mulhi(np.uint32(span),
                           high) + np.uint32(minval & 0xFFFFFFFF)).astype(np.uint32).view(np.int32)
        bits = (high.astype(np.uint64) << np.uint64(32)) | low
        return (bits % np.uint64(span) + np.uint64(minval & (2**64 - 1))).astype(dtype.numpy)


integers_between = OpDef(
    "integers_between", "high low", infer=_as_asked, lower=pointwise_op(_below_element), numpy=_below_numpy,
    attrs={"minval": 0, "maxval": REQUIRED, "dtype": int32},
    samples=(Sample((_BITS, _BITS), {"maxval": 10}), Sample((_BITS, _BITS), {"minval": -5, "maxval": 5}),
             Sample((_BITS, _BITS[::-1]), {"minval": -3, "maxval": 2**40, "dtype": int64})),
    doc="Integers minval <= i < maxval from random bits.")


# The ops of the user

def _random_type(op: Operation) -> TensorType:
    return TensorType(op.dtype, None if isinstance(op.shape, Tensor) else open_dims(op.shape))


def _bits(op: Operation, key: Tensor, word: int) -> Tensor:
    result: Tensor = random_bits(key, shape=op.shape, seed=op.seed, stream=op.stream, word=word)
    return result


def _unit(op: Operation, key: Tensor, inside: bool) -> Tensor:
    """Numbers of (0, 1); half floats are made from float32."""
    dtype = float64 if op.dtype is float64 else float32
    words = (0, 1) if dtype is float64 else (0,)
    result: Tensor = unit_interval(*(_bits(op, key, w) for w in words), dtype=dtype, inside=inside)
    return result


def _in_dtype(op: Operation, unit: Tensor) -> Tensor:
    """Numbers of [0, 1) cut to the bits of a half type, which would round the largest up to 1."""
    bits = {float16: 11, bfloat16: 8}.get(op.dtype)
    if bits is None:
        return unit
    cut: Tensor = floor(unit * literal(2.0**bits, unit.dtype)) * literal(2.0**-bits, unit.dtype)
    return cut


def _scaled(op: Operation, value: Tensor, low: float, span: float) -> Tensor:
    scaled = value * literal(span, value.dtype) + literal(low, value.dtype)
    return scaled if scaled.dtype is op.dtype else cast(scaled, dtype=op.dtype)


def _uniform(op: Operation, key: Tensor) -> Tensor:
    if op.dtype.is_integer:
        result: Tensor = integers_between(_bits(op, key, 0), _bits(op, key, 1), minval=op.minval,
                                          maxval=op.maxval,
                                          dtype=op.dtype)
        return result
    return _scaled(op, _in_dtype(op, _unit(op, key, False)), op.minval, op.maxval - op.minval)


def _normal(op: Operation, key: Tensor) -> Tensor:
    """The inverse of the normal distribution: sqrt(2) * erfinv(2u - 1)."""
    return _scaled(op, erfinv(_unit(op, key, True) * 2 - 1), op.mean, op.stddev * math.sqrt(2))


def _truncated(op: Operation, key: Tensor) -> Tensor:
    """The same, with u between the values that the distribution has at -2 and 2 standard deviations."""
    inside = (_unit(op, key, True) * 2 - 1) * math.erf(math.sqrt(2))
    return _scaled(op, erfinv(inside), op.mean, op.stddev * math.sqrt(2))


_COMMON: dict[str, Any] = {"shape": REQUIRED, "dtype": float32, "seed": None, "stream": 0}
random_uniform = OpDef("random_uniform", "", infer=_random_type, dim_attrs=("shape",), expand=_uniform,
                       attrs={**_COMMON, "minval": 0.0, "maxval": 1.0}, effect="random")
random_normal = OpDef("random_normal", "", infer=_random_type, dim_attrs=("shape",), expand=_normal,
                      effect="random",
                      attrs={**_COMMON, "mean": 0.0, "stddev": 1.0}, tf_name="RandomStandardNormal")
truncated_normal = OpDef("truncated_normal", "", infer=_random_type, dim_attrs=("shape",), expand=_truncated,
                         attrs={**_COMMON, "mean": 0.0, "stddev": 1.0}, effect="random")


DEFAULT_GRAPH_SEED = 87654321  # TF1's, for an op with a seed in a graph without one


def seed_pair(graph: Graph, op_seed: int | None) -> tuple[int, int] | None:
    """The seeds of an op as TF1 has them; None when neither the graph nor the op has one."""
    if op_seed is None:
        return None if graph.seed is None else (graph.seed, len(graph.operations))
    return DEFAULT_GRAPH_SEED if graph.seed is None else graph.seed, op_seed


def draw(opdef: OpDef, shape: Any, dtype: Any, seed: int | None, name: str | None,
         **parameters: Any) -> Tensor:
    """Add a random op to the default graph, with a stream of its own."""
    graph, wanted = get_default_graph(), as_dtype(dtype)
    if wanted.is_integer and wanted not in (int32, int64):
        raise ShapeError(f"{opdef.name}: random integers are int32 or int64, not {wanted.name}")
    if "maxval" in parameters and wanted.is_integer and not parameters["minval"] < parameters["maxval"]:
        raise ShapeError(f"{opdef.name}: minval {parameters['minval']} is not below {parameters['maxval']}")
    result: Tensor = opdef(shape=shape, dtype=wanted, seed=seed_pair(graph, seed),
                           stream=len(graph.operations),
                           name=name, **parameters)
    return result
