"""Integer arithmetic with unknowns agrees with Python's on every value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graphflow.compiler.ir.dims import (
    atoms_of,
    axis,
    coefficient,
    evaluate,
    maximum,
    minimum,
    single_atom,
    substitute,
    sym,
)

A, B = sym("a"), sym("b")
I, J = axis("i", A), axis("j", 7)
LEAVES = st.one_of(st.integers(0, 6), st.sampled_from([A, B, I, J]))
EXPRESSIONS = st.recursive(
    LEAVES, lambda inner: st.tuples(st.sampled_from("+-*/%<>"), inner, inner), max_leaves=8)
OPERATIONS = {"+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y,
              "/": lambda x, y: x // (y if isinstance(y, int) and y > 0 else 5),
              "%": lambda x, y: x % (y if isinstance(y, int) and y > 0 else 5),
              "<": minimum, ">": maximum}


def build(e):
    return OPERATIONS[e[0]](build(e[1]), build(e[2])) if isinstance(e, tuple) else e


def value_of(e, names):
    """The same expression on plain ints; divisors as `build` took them."""
    if not isinstance(e, tuple):
        return evaluate(e, names)
    x, y = value_of(e[1], names), value_of(e[2], names)
    if e[0] in "/%":
        divisor = build(e[2])
        y = divisor if isinstance(divisor, int) and divisor > 0 else 5
    return OPERATIONS[e[0]](x, y)


@given(EXPRESSIONS, st.integers(1, 9), st.integers(1, 9), st.data())
def test_polynomials_evaluate_as_ints(e, a, b, data):
    i, j = data.draw(st.integers(0, a - 1)), data.draw(st.integers(0, 6))
    names = {single_atom(A): a, single_atom(B): b, single_atom(I): i, single_atom(J): j}
    assert evaluate(build(e), names) == value_of(e, names)


def test_normal_form():
    assert A + B == B + A and (A + 1) * (A - 1) == A * A - 1 and A - A == 0 and 2 * A // 2 == A
    assert str(3 * A * B - A + 2) == "-a+3*a*b+2"


def test_reshapes_simplify():
    i, j = axis("i", A), axis("j", 28)
    flat = i * 28 + j
    assert flat // 28 == i and flat % 28 == j
    k = axis("k", A * 28)
    assert {x.kind for x in atoms_of(k // 28)} == {"floordiv", "axis"}
    n = axis("n", B)
    assert (i * B + n) // B == i and (i * B + n) % B == n


def test_strides():
    i, j = axis("i", A), axis("j", 28)
    assert coefficient(i * 28 * B + j, single_atom(i)) == 28 * B
    assert coefficient(j // 5 + i, single_atom(j)) is None
    assert coefficient(A + 3, single_atom(j)) == 0


def test_substitution():
    assert substitute(A * B + A // 3, {single_atom(A): 6}) == 6 * B + 2
    i, kept = axis("i", 4), A // 3 * B + B % (A + 1)
    assert substitute(kept + i, {single_atom(i): 7}) == kept + 7
