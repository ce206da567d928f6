"""The mathematical functions, compiled by LLVM: accuracy, special values, and what they are made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exhaustive import fit_polynomials, maths_f32
from exhaustive.native import Array, Native
from exhaustive.reference import BINARY, EXACT, WIDE, special_values, ulps_f32, ulps_f64
from mpmath import mp

from graphflow.compiler.ir.dtypes import DType, float32, float64, int32, uint32, uint64
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops import numeric
from graphflow.compiler.loops.maths import MATHS, NEAR, coefficients, expand_math, near_path
from graphflow.compiler.ops import gamma as gamma_ops
from graphflow.runtime import cpu

PRIMITIVES = {"add", "sub", "mul", "div", "neg", "abs", "fma", "sqrt", "rint", "floor", "copysign",
              "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "not", "shl", "shr", "select", "cast",
              "bitcast", "const", "temp", "lookup", "ldexp", "exponent", "mantissa"}
LIMITS_F32 = {
    "lgamma": 0.51, "digamma": 0.51, "rsqrt": 0.51, "acos": 0.62, "asin": 0.65, "pow": 0.66,
    "sigmoid": 0.77, "exp": 0.77, "cbrt": 0.77, "log": 0.78, "log2": 0.78, "acosh": 0.79,
    "erfinv": 0.8, "atan": 0.8, "log1p": 0.81, "atanh": 0.81, "expm1": 0.83, "asinh": 0.83,
    "softplus": 0.85, "tanh": 0.87, "sin": 0.87, "cos": 0.87, "cosh": 0.88, "exp2": 0.89,
    "sinh": 0.9, "erfc": 0.93, "tan": 0.96, "ndtri": 0.96, "erf": 1.0, "atan2": 1.0}
LIMIT_F64 = 1.2
ODD = ("cbrt", "tanh", "sinh", "asinh", "atanh", "erf", "erfinv", "sin", "tan", "asin", "atan", "expm1",
       "log1p")


def arity(name: str) -> int:
    return 3 if name in ("quotient", "modulo") else 2 if name in (*BINARY, "ldexp") else 1


def operands(name: str, dtype: DType, x: Array) -> Array:
    """A row for each argument, as the function wants them."""
    x = x.astype(dtype.numpy)
    y = np.random.default_rng(16).permutation(x)
    if name == "ldexp":
        y = np.clip(np.nan_to_num(y), -250, 250)
    with np.errstate(all="ignore"):
        return np.stack([x, y, x / y if name == "modulo" else 1 / y][:arity(name)])


def native(name: str, dtype: DType, vector_bits: int = 0) -> Native:
    return Native(name, dtype, arity(name), vector_bits)


def arguments_f32(name: str) -> tuple[Array, ...]:
    """Samples of every sign and exponent, and of the ranges where functions turn."""
    rng = np.random.default_rng(5)
    bits = (np.arange(0, 2**32, 2**14, dtype=np.uint64) + rng.integers(0, 2**14, 2**18, dtype=np.uint64))
    x = np.concatenate([bits.astype(np.uint32).view(np.float32), special_values(np.float32),
                        rng.normal(size=2**16).astype(np.float32),
                        rng.uniform(-100, 100, 2**16).astype(np.float32)])
    if name in BINARY:
        log = rng.uniform(-1, 1, x.size) * rng.choice([88.0, 1.0, 1e-3], x.size)
        y = rng.uniform(-104, 89, x.size) / log
        grid = [v.ravel() for v in np.meshgrid(special_values(np.float32), special_values(np.float32))]
        base = np.exp(log)
        with np.errstate(invalid="ignore"):  # a signalling NaN among the bits
            return (np.concatenate([x, base, -base, grid[0]]).astype(np.float32),
                    np.concatenate([rng.permutation(x), y, np.rint(y), grid[1]]).astype(np.float32))
    return (x,)


def arguments_f64(name: str) -> tuple[Array, ...]:
    """Finite points inside the domain, dense where the function turns."""
    rng = np.random.default_rng(6)
    small = np.exp(rng.uniform(-30, 0, 60)) * rng.choice([-1.0, 1.0], 60)
    x = np.concatenate([small, rng.uniform(-1, 1, 80), rng.uniform(-6, 6, 80), rng.uniform(-40, 40, 40)])
    if name in ("log", "log2", "rsqrt"):
        x = np.concatenate([np.abs(x), 1 + small[:40] * 1e-3, np.exp(rng.uniform(-740, 700, 60))])
    elif name in ("sin", "cos", "tan"):
        far = np.ldexp(rng.uniform(-1, 1, 120), rng.integers(45, 1024, 120))
        nearest = [6381956970095103 * 2.0**797, 5.319372648326541e255]  # to a multiple of pi/2
        x = np.concatenate([x, rng.uniform(-1, 1, 60) * 2.0**45, far, nearest,
                            np.rint(rng.uniform(0, 1e9, 40)) * (np.pi / 2), [2.0**45, np.finfo(float).max]])
    elif name in ("asin", "acos", "atanh", "erfinv"):
        x = np.concatenate([small, rng.uniform(-1, 1, 120), 1 - np.exp(rng.uniform(-34, -1, 60))])
        x = x[np.abs(x) < 1]
    elif name == "log1p":
        x = np.abs(x) - 0.999
    elif name == "acosh":
        x = 1 + np.abs(x)
    elif name in ("lgamma", "digamma"):
        zeros = np.array([1.0, 2.0, 1.4616321449683623])
        x = np.concatenate([np.abs(x), np.exp(rng.uniform(-740, 690, 60)), rng.uniform(0, 5, 200),
                            (zeros[:, None] + small[:30]).ravel()])
        x = x[x > 0]
    elif name == "ndtri":
        x = np.concatenate([rng.uniform(0, 1, 200), np.exp(rng.uniform(-740, 0, 200)), 0.5 + small / 4])
    elif name == "atan2":
        return rng.normal(size=300), rng.normal(size=300) * np.exp(rng.normal(size=300) * 3)
    elif name == "pow":
        log = rng.uniform(-1, 1, 300) * rng.choice([700.0, 1.0, 1e-3], 300)
        return np.exp(log), rng.uniform(-740, 709, 300) / log
    else:
        x = np.concatenate([x, rng.uniform(-700, 700, 60)])
    return (x,)


@pytest.mark.parametrize("name", sorted(WIDE))
def test_float32_is_within_its_limit(name: str) -> None:
    inputs = arguments_f32(name)
    with np.errstate(all="ignore"):
        error = ulps_f32(native(name, float32)(*inputs), WIDE[name](*(v.astype(np.float64) for v in inputs)))
    k = int(np.argmax(error))
    assert error[k] <= LIMITS_F32[name], f"{name}{tuple(v[k] for v in inputs)} is {error[k]:.3f} ulp off"


@pytest.mark.parametrize("name", sorted(EXACT))
def test_float64_is_within_its_limit(name: str) -> None:
    inputs = arguments_f64(name)
    error = ulps_f64(name, native(name, float64)(*inputs), *inputs)
    k = int(np.argmax(error))
    assert error[k] <= LIMIT_F64, f"{name}{tuple(v[k] for v in inputs)} is {error[k]:.3f} ulp off"


@pytest.mark.parametrize("name", sorted(WIDE))
def test_float64_special_values(name: str) -> None:
    """Infinities, NaN, zeros and their signs as numpy's float64 functions; the rest by mpmath."""
    x = special_values(np.float64)
    inputs = [v.ravel() for v in np.meshgrid(x, x)] if name in BINARY else [x]
    with np.errstate(all="ignore"):
        got, want = native(name, float64)(*inputs), np.asarray(WIDE[name](*inputs))
    special = ~np.isfinite(want) | (want == 0)
    np.testing.assert_array_equal(got[special], want[special])
    np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))
    if name in BINARY:  # mpmath has no -0.0
        np.testing.assert_allclose(got[~special], want[~special], rtol=1e-14)
    else:
        assert ulps_f64(name, got[~special], inputs[0][~special]).max() <= LIMIT_F64


@pytest.mark.parametrize("name, dtype", list(NEAR), ids=lambda v: getattr(v, "name", v))
def test_the_near_path_agrees_with_the_far_one(name: str, dtype: DType) -> None:
    """A number alone takes the near path where it may; beside a NaN it never does."""
    rng = np.random.default_rng(12)
    x = np.concatenate([special_values(dtype.numpy), rng.normal(size=200), np.exp(rng.uniform(-80, 80, 200))])
    fn = native(name, dtype, 128)
    inputs = operands(name, dtype, x)
    alone = fn(*np.repeat(inputs, fn.lanes, axis=1))[::fn.lanes]
    others = np.full((*inputs.shape, fn.lanes), np.nan, dtype.numpy)
    others[..., 0] = inputs
    beside = fn(*others.reshape(len(inputs), -1))[::fn.lanes]
    np.testing.assert_array_equal(np.isnan(alone), np.isnan(beside))
    np.testing.assert_array_equal(np.signbit(alone[alone == 0]), np.signbit(beside[alone == 0]))
    np.testing.assert_allclose(alone, beside, rtol=2 * np.finfo(dtype.numpy).eps)


@pytest.fixture(params=[128, 256, 512])
def bits(request: pytest.FixtureRequest) -> int:
    if request.param > cpu.vector_bits():
        pytest.skip("wider than this CPU's registers")
    return request.param


def test_registers_of_any_width_give_the_same_bits(bits: int) -> None:
    rng = np.random.default_rng(13)
    for name, dtype in MATHS:
        x = np.concatenate([special_values(dtype.numpy), rng.normal(size=500), rng.uniform(-90, 90, 500)])
        inputs = operands(name, dtype, x)
        got, want = (native(name, dtype, width)(*inputs) for width in (bits, 128))
        np.testing.assert_array_equal(got, want, name)


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_numbers_taken_apart_and_put_together(dtype: DType, bits: int) -> None:
    """ldexp, exponent and mantissa as the oracle's."""
    rng = np.random.default_rng(14)
    x = np.ldexp(rng.normal(size=500), rng.integers(-150, 120, 500))
    x = np.concatenate([special_values(dtype.numpy), x, -rng.uniform(0, 9, 20)]).astype(dtype.numpy)
    n = rng.uniform(-250, 250, x.size).astype(dtype.numpy)
    for name, inputs in ("ldexp", [x, n]), ("ldexp", [x, np.rint(n)]), ("exponent", [x]), ("mantissa", [x]):
        with np.errstate(all="ignore"):
            want = getattr(numeric, name)(*inputs)
        np.testing.assert_array_equal(native(name, dtype, bits)(*inputs), want, name)


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_lookups_take_the_low_bits(dtype: DType, bits: int) -> None:
    rng = np.random.default_rng(15)
    x, size = rng.normal(size=300).astype(dtype.numpy), 64 // dtype.size
    table = rng.normal(size=size).astype(dtype.numpy)
    word = uint64 if dtype is float64 else uint32
    fn = Native(lambda x: E.lookup(table.tolist(), E.bitcast(x, word), dtype), dtype, vector_bits=bits)
    np.testing.assert_array_equal(fn(x), table[x.view(word.numpy) & (size - 1)])


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_quotients_are_the_division_s(dtype: DType) -> None:
    """Of like numbers, of any, and of those at the ends of what needs no division."""
    rng, edge = np.random.default_rng(17), 30 if dtype is float32 else 100
    x, y = rng.uniform(1, 2, (2, 1 << 16))
    scale = rng.integers(-3 * edge, 3 * edge, (2, 1 << 16))
    any_x, any_y = np.ldexp(x, scale[0]), np.ldexp(y, scale[1] // 3) * rng.choice([-1.0, 1.0], x.size)
    special = np.meshgrid(special_values(dtype.numpy), special_values(dtype.numpy))
    for a, b in (x, y), (any_x, any_y), (np.ldexp(x, -3 * edge), np.ldexp(y, edge)), special:
        a, b = a.ravel().astype(dtype.numpy), b.ravel().astype(dtype.numpy)
        with np.errstate(all="ignore"):
            got, want = native("quotient", dtype)(a, b, 1 / b), a / b
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


def dividends_and_divisors(dtype: DType, count: int) -> list[tuple[Array, Array]]:
    """Of any exponents, of like ones, of whole quotients, denormals, and special values."""
    rng, size = np.random.default_rng(18), 8 * dtype.size
    word, fraction = f"u{dtype.size}", 23 if dtype is float32 else 52
    x, y, noise = rng.integers(0, 2**size, (3, count), dtype=word)
    scale = rng.integers(-120, 120, count)
    grid = np.meshgrid(special_values(dtype.numpy), special_values(dtype.numpy))
    pairs = [(x, y), (x, x + (noise & 3)), (x, x + ((noise & 31) << fraction)), (x, y & 1023),
             (x & (2**fraction - 1), y & (2**fraction - 1))]
    found = [*((a.view(dtype.numpy), b.view(dtype.numpy)) for a, b in pairs),
             (x.view(dtype.numpy), np.ldexp(-1.0, scale)),
             (rng.integers(-200, 200, count) / 2, rng.integers(-9, 9, count) / 2),
             (grid[0].ravel(), grid[1].ravel())]
    return [(a.astype(dtype.numpy), b.astype(dtype.numpy)) for a, b in found]


def assert_same(got: Array, want: Array) -> None:
    """Equal numbers, signs of zeros included."""
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda d: d.name)
def test_remainders_are_numpy_s(dtype: DType, bits: int) -> None:
    """To the bit; on the near path, on the far one beside a quotient of 1e30, and on either as it comes."""
    fn = Native(lambda x, y: E.call("modulo", x, y, x / y), dtype, 2, bits)
    for x, y in dividends_and_divisors(dtype, 1 << 14):
        with np.errstate(all="ignore"):
            want = np.mod(x, y)
        assert_same(fn(x, y), want)
        for other in 1.0, 1e30:
            others = np.full((2, x.size, 64 // dtype.size), other, dtype.numpy)
            others[1], others[:, :, 0] = 1.0, (x, y)
            assert_same(fn(*others.reshape(2, -1)).reshape(others.shape[1:])[:, 0], want)


def test_remainders_are_fmod_s() -> None:
    """The truncated one, moved to the divisor's side."""
    for dtype in float32, float64:
        for x, y in dividends_and_divisors(dtype, 1 << 10):
            x, y = (v[np.isfinite(x) & np.isfinite(y) & (y != 0)] for v in (x, y))
            rest = np.array([*map(math.fmod, x.tolist(), y.tolist())], dtype.numpy)
            with np.errstate(over="ignore"):
                want, q = np.where((rest != 0) & ((rest < 0) != (y < 0)), rest + y, rest), x / y
            np.testing.assert_array_equal(native("modulo", dtype)(x, y, q), want)


@pytest.mark.parametrize("name", ODD)
def test_minus_zero_stays(name: str) -> None:
    for dtype in float32, float64:
        assert np.signbit(native(name, dtype)(np.array([-0.0], dtype.numpy)))[0]


def test_pow_follows_c99() -> None:
    inf, nan = np.inf, np.nan
    cases = [(nan, 0, 1), (0, 0, 1), (1, nan, 1), (1, inf, 1), (-1, inf, 1), (-1, -inf, 1), (-2, 3, -8),
             (-2, 2, 4), (-2, 0.5, nan), (0, -1, inf), (-0.0, -1, -inf), (-0.0, -2, inf), (-0.0, 3, -0.0),
             (0, 0.5, 0),
             (0.5, inf, 0), (0.5, -inf, inf), (2, inf, inf), (2, -inf, 0), (inf, 2, inf), (inf, -2, 0),
             (-inf, 3, -inf), (-inf, -3, -0.0), (-inf, 2, inf), (-inf, 0.5, inf), (nan, 1, nan),
             (2, nan, nan), (-2, 2**24 - 1, -inf), (-2, 2.0**60, inf)]
    for dtype in float32, float64:
        x, y, want = (np.array(v, dtype.numpy) for v in zip(*cases, strict=True))
        if dtype is float64:
            x, y, want = x[:-2], y[:-2], want[:-2]
        got = native("pow", dtype)(x, y)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got[want == 0]), np.signbit(want[want == 0]))


def test_results_stay_in_range() -> None:
    x = np.concatenate([np.linspace(-20, 20, 4001), special_values(np.float64)[:-1]])
    for dtype in float32, float64:
        with np.errstate(over="ignore"):
            at = x.astype(dtype.numpy)
        for name in "tanh", "erf":
            assert np.all(np.abs(native(name, dtype)(at)) <= 1)
        s = native("sigmoid", dtype)(at)
        assert np.all((s >= 0) & (s <= 1))
        assert np.all(native("softplus", dtype)(at) >= np.maximum(at, 0))


@pytest.mark.parametrize("name", maths_f32.UNARY)
def test_the_sweep_over_all_float32_finds_nothing(name: str) -> None:
    """The program that checks every input, on a sample of them."""
    found = maths_f32.sweep(name, 0, 2**32, stride=100003)
    assert found.count == -(-2**32 // 100003)
    assert found.worst <= LIMITS_F32[name]
    assert maths_f32.specials_exact(name)


def test_the_sweep_sees_errors() -> None:
    """As the error of a float32 result against the float64 one, in numpy."""
    bits = np.random.default_rng(8).integers(0, 2**32, 2**16, dtype=np.uint32)
    x = bits.view(np.float32)
    for name in "exp", "sin", "log":
        got = Native(lambda x, name=name: maths_f32.error_expression(name, x), float32)(x)
        with np.errstate(all="ignore"):
            want = ulps_f32(native(name, float32)(x), WIDE[name](x.astype(np.float64)))
        np.testing.assert_allclose(got, want, atol=1e-5)
    shifted = Native(lambda x: maths_f32.error_of(x * np.float32(1 + 2**-20), E.cast(x, float64)), float32)(x)
    assert 7 < np.nanmin(shifted[np.isfinite(x) & (np.abs(x) > 1e-30) & (np.abs(x) < 1e30)]) < 9


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_left_of_zero_the_error_is_absolute(name: str) -> None:
    """The zeros there are irrational: relative to 1 or the value, whichever is larger."""
    rng = np.random.default_rng(9)
    x = -np.concatenate([rng.uniform(0, 10, 200), rng.uniform(10, 200, 50), np.exp(rng.uniform(-60, 2, 50))])
    got = native(name, float64)(x)
    with mp.workprec(300):
        want = np.array([float(EXACT[name](mp.mpf(v))) for v in x.tolist()])
    np.testing.assert_array_less(np.abs(got - want), 5e-16 * np.maximum(1, np.abs(want)))


@pytest.mark.parametrize("order", [1, 2, 3, 8])
def test_polygamma(order: int) -> None:
    rng = np.random.default_rng(10)
    x = np.concatenate([np.exp(rng.uniform(-5, 5, 60)), -rng.uniform(0, 8, 60)])
    got = gamma_ops.polygamma.numpy(x, order=order)
    with mp.workprec(300):
        want = np.array([float(mp.psi(order, mp.mpf(v))) for v in x.tolist()])
    np.testing.assert_allclose(got, want, rtol=1e-13)


def test_the_oracle_s_functions() -> None:
    """What numpy lacks, against scipy."""
    rng = np.random.default_rng(11)
    x = np.concatenate([rng.uniform(-9, 30, 300), rng.uniform(0, 2, 200)])
    for fn in "lgamma", "digamma":
        np.testing.assert_allclose(getattr(numeric, fn)(x), WIDE[fn](x), rtol=1e-12, atol=1e-13)
    p = np.concatenate([rng.uniform(0, 1, 200), 10.0**rng.uniform(-320, 0, 200), [0.0, 1.0, 0.5]])
    np.testing.assert_allclose(numeric.ndtri(p), WIDE["ndtri"](p), rtol=2e-15)
    assert np.isnan(numeric.ndtri(np.array([-0.1, 1.1, np.nan]))).all()


def test_functions_are_made_of_primitives_of_their_dtype() -> None:
    for (name, dtype), expand in MATHS.items():
        args = [E.temp(f"a{k}", dtype) for k in range(arity(name))]
        near = near_path(name, dtype)
        for fn in [expand, *(near or ())]:
            nodes = E.walk(fn(*args))
            assert {n.op for n in nodes} <= PRIMITIVES, name
            assert sum(n.op != "const" for n in nodes) < 400
            for n in nodes:
                if n.op in ("add", "sub", "mul", "div", "fma", "and", "xor", "copysign"):
                    assert len({a.dtype for a in n.args} | {n.dtype}) == 1, f"{name}: {n}"


def test_what_has_no_expansion_gives_none() -> None:
    assert expand_math("exp", int32) is None
    assert expand_math("add", float32) is None
    assert near_path("asin", float32) is None


def test_constants_are_the_script_s() -> None:
    for name, (_, values) in fit_polynomials.constants().items():
        assert getattr(coefficients, name) == tuple(values), name


def test_polynomials_are_the_script_s() -> None:
    for fit in fit_polynomials.fits():
        if fit.name in ("EXP_32", "SIN_32", "COS_64"):
            assert getattr(coefficients, fit.name) == tuple(fit_polynomials.solve(fit)[0]), fit.name
