"""Scalar expressions: how one element is computed.

An `Expr` is an immutable node of a DAG: a constant, a loop index, a load, a named temporary, or a scalar
function of other expressions. `SCALAR` lists the functions with their numpy meaning, result dtype and cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphflow.compiler.ir.dims import Dim, atom
from graphflow.compiler.ir.dtypes import DType, bool_, int64
from graphflow.compiler.loops import numeric
from graphflow.compiler.records import record


class Expr:
    """One node: `op` is "const", "index", "load", "temp", "lookup" or a name in SCALAR; `attr` is no Expr."""

    __slots__ = ("op", "args", "dtype", "attr", "_hash", "_nodes", "_cost")

    def __init__(self, op: str, args: tuple[Expr, ...], dtype: DType, attr: Any = None) -> None:
        self.op = op
        self.args = args
        self.dtype = dtype
        self.attr = attr
        self._hash = hash((op, args, dtype, attr))
        self._nodes: tuple[Expr, ...] = ()  # what `walk` and `cost` give, once they were asked
        self._cost: int | None = None

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not (isinstance(other, Expr) and self._hash == other._hash and self.op == other.op
                and self.dtype is other.dtype and self.attr == other.attr and self.args == other.args):
            return False
        self.args = other.args  # shared from now on: or comparing equal DAGs would take exponential time
        return True

    def __add__(self, other: Value) -> Expr:
        return call("add", self, other)

    def __radd__(self, other: Value) -> Expr:
        return call("add", other, self)

    def __sub__(self, other: Value) -> Expr:
        return call("sub", self, other)

    def __rsub__(self, other: Value) -> Expr:
        return call("sub", other, self)

    def __mul__(self, other: Value) -> Expr:
        return call("mul", self, other)

    def __rmul__(self, other: Value) -> Expr:
        return call("mul", other, self)

    def __truediv__(self, other: Value) -> Expr:
        return call("div", self, other)

    def __rtruediv__(self, other: Value) -> Expr:
        return call("div", other, self)

    def __neg__(self) -> Expr:
        return call("neg", self)

    def __lt__(self, other: Value) -> Expr:
        return call("lt", self, other)

    def __le__(self, other: Value) -> Expr:
        return call("le", self, other)

    def __gt__(self, other: Value) -> Expr:
        return call("gt", self, other)

    def __ge__(self, other: Value) -> Expr:
        return call("ge", self, other)

    def __and__(self, other: Value) -> Expr:
        return call("and", self, other)

    def __or__(self, other: Value) -> Expr:
        return call("or", self, other)

    def __xor__(self, other: Value) -> Expr:
        return call("xor", self, other)

    def __invert__(self) -> Expr:
        return call("not", self)

    def __lshift__(self, other: Value) -> Expr:
        return call("shl", self, other)

    def __rshift__(self, other: Value) -> Expr:
        return call("shr", self, other)

    def __repr__(self) -> str:
        return text(self)


Value: TypeAlias = "Expr | int | float | bool"
Index: TypeAlias = "tuple[Dim, ...]"
LOOKUP_BYTES = 64  # a table that one vector register may hold


@record
class ScalarFn:
    """A scalar function: its meaning in numpy, result ("same", "bool") and cost in additions."""

    numpy: Callable[..., Any]
    result: str = "same"
    cost: int = 1


def _shift_left(a: Any, n: Any) -> Any:
    return np.left_shift(a, n)


def _floor_divide(a: Any, b: Any) -> Any:
    """Integer floor division; 0 for a zero divisor, as the kernels do (the record reports the error)."""
    b = np.asarray(b)
    return np.where(b == 0, 0, np.floor_divide(a, np.where(b == 0, 1, b))).astype(b.dtype)


def _floor_mod(a: Any, b: Any) -> Any:
    b = np.asarray(b)
    return np.where(b == 0, 0, np.mod(a, np.where(b == 0, 1, b))).astype(b.dtype)


def _high_half(a: Any, b: Any) -> Any:
    """The high 32 bits of a 32 by 32 bit product."""
    return ((a.astype(np.uint64) * b.astype(np.uint64)) >> np.uint64(32)).astype(np.uint32)


# Arithmetic on ints wraps. min and max propagate NaN. floordiv and floormod are for ints, modulo for floats:
# it takes the rounded quotient too, which many by one have without a division.
SCALAR: dict[str, ScalarFn] = {
    "add": ScalarFn(np.add), "sub": ScalarFn(np.subtract), "mul": ScalarFn(np.multiply),
    "div": ScalarFn(np.divide, cost=8), "neg": ScalarFn(np.negative), "abs": ScalarFn(np.abs),
    "floordiv": ScalarFn(_floor_divide, cost=20), "floormod": ScalarFn(_floor_mod, cost=20),
    "min": ScalarFn(np.minimum), "max": ScalarFn(np.maximum),
    "fma": ScalarFn(lambda a, b, c: a * b + c), "sqrt": ScalarFn(np.sqrt, cost=10),
    "lt": ScalarFn(np.less, "bool"), "le": ScalarFn(np.less_equal, "bool"),
    "gt": ScalarFn(np.greater, "bool"), "ge": ScalarFn(np.greater_equal, "bool"),
    "eq": ScalarFn(np.equal, "bool"), "ne": ScalarFn(np.not_equal, "bool"),
    "and": ScalarFn(np.bitwise_and), "or": ScalarFn(np.bitwise_or), "xor": ScalarFn(np.bitwise_xor),
    "not": ScalarFn(np.invert), "shl": ScalarFn(_shift_left), "shr": ScalarFn(np.right_shift),
    "mulhi": ScalarFn(_high_half), "select": ScalarFn(np.where),
    "cast": ScalarFn(lambda a: a), "bitcast": ScalarFn(lambda a: a),
    "floor": ScalarFn(np.floor), "ceil": ScalarFn(np.ceil), "trunc": ScalarFn(np.trunc),
    "rint": ScalarFn(np.rint), "copysign": ScalarFn(np.copysign), "pow": ScalarFn(np.power, cost=40),
} | {name: ScalarFn(getattr(np, name), cost=15) for name in (
    "exp", "exp2", "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "sinh", "cosh", "tanh")} | {
    "asin": ScalarFn(np.arcsin, cost=15), "acos": ScalarFn(np.arccos, cost=15),
    "atan": ScalarFn(np.arctan, cost=15), "asinh": ScalarFn(np.arcsinh, cost=15),
    "acosh": ScalarFn(np.arccosh, cost=15), "atanh": ScalarFn(np.arctanh, cost=15),
    "atan2": ScalarFn(np.arctan2, cost=25), "rsqrt": ScalarFn(numeric.rsqrt, cost=12),
} | {name: ScalarFn(getattr(numeric, name), cost=2) for name in ("ldexp", "exponent", "mantissa")} | {
    name: ScalarFn(getattr(numeric, name), cost=20) for name in (
    "sigmoid", "softplus", "erf", "erfc", "erfinv", "ndtri", "lgamma", "digamma")} | {
    "cbrt": ScalarFn(np.cbrt, cost=20), "quotient": ScalarFn(lambda x, divisor, inverse: x / divisor, cost=3),
    "modulo": ScalarFn(lambda x, divisor, quotient: np.mod(x, divisor), cost=8)}


def const(value: Any, dtype: DType) -> Expr:
    """A constant, stored as a plain Python number already rounded to the dtype."""
    return Expr("const", (), dtype, _ExactNumber(dtype.numpy.type(value)))


class _ExactNumber:
    """A number equal only to the same bits, so that -0.0 is not 0.0 and NaN equals itself."""

    __slots__ = ("value", "_key")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._key = (value.dtype.char, value.tobytes())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ExactNumber) and self._key == other._key

    def __repr__(self) -> str:
        return str(self.value)


def index(position: Dim, dtype: DType = int64) -> Expr:
    """The value of an index expression, such as i+1 or a run-time dim, as a number."""
    value = const(position, int64) if isinstance(position, int) else Expr("index", (), int64, position)
    return value if dtype is int64 else cast(value, dtype)


def load(buffer: str, offset: Dim, dtype: DType, mask: Expr | None = None) -> Expr:
    """A buffer's element at a linear offset, in elements; zero, without touching memory, if mask is False."""
    return Expr("load", () if mask is None else (mask,), dtype, (buffer, offset))


def both(a: Expr | None, b: Expr | None) -> Expr | None:
    """The mask that allows what two allow; None allows all."""
    return b if a is None else a if b is None else a & b


def temp(name: str, dtype: DType) -> Expr:
    """A value named before by a Let or an accumulator."""
    return Expr("temp", (), dtype, name)


def call(fn: str, *values: Value) -> Expr:
    """A scalar function; plain numbers take the dtype of the first Expr among the values."""
    like = next(v.dtype for v in values if isinstance(v, Expr) and not (fn == "select" and v.dtype is bool_
                                                                       and v is values[0]))
    args = tuple(v if isinstance(v, Expr) else const(v, like) for v in values)
    result = bool_ if SCALAR[fn].result == "bool" else like
    return Expr(fn, args, result)


def select(condition: Expr, a: Value, b: Value) -> Expr:
    """a where the condition holds, else b."""
    like = next((v.dtype for v in (a, b) if isinstance(v, Expr)), None)
    assert like is not None, "select needs a dtype: make one branch an Expr"
    x, y = (v if isinstance(v, Expr) else const(v, like) for v in (a, b))
    if (x, y) == (const(True, bool_), const(False, bool_)):
        return condition
    return Expr("select", (condition, x, y), like)


def cast(value: Expr, dtype: DType) -> Expr:
    """Conversion as numpy's astype, but floats out of an int's range saturate and NaN gives 0, everywhere."""
    return value if value.dtype is dtype else Expr("cast", (value,), dtype)


def bitcast(value: Expr, dtype: DType) -> Expr:
    """The same bits as another dtype of equal size."""
    return Expr("bitcast", (value,), dtype)


def lookup(values: Sequence[float], word: Expr, dtype: DType) -> Expr:
    """One of LOOKUP_BYTES worth of numbers, by the low bits of a word of equal size."""
    assert len(values) * dtype.size == LOOKUP_BYTES
    return Expr("lookup", (word,), dtype, _ExactNumber(np.array(values, dtype.numpy)))


def eq(a: Value, b: Value) -> Expr:
    return call("eq", a, b)


def ne(a: Value, b: Value) -> Expr:
    return call("ne", a, b)


def isnan(a: Expr) -> Expr:
    return call("ne", a, a)


def maximum(a: Value, b: Value) -> Expr:
    return call("max", a, b)


def minimum(a: Value, b: Value) -> Expr:
    return call("min", a, b)


def fma(a: Value, b: Value, c: Value) -> Expr:
    """a*b + c with one rounding where the CPU has it."""
    return call("fma", a, b, c)


def checked_index(value: Expr, extent: Dim, where: str) -> Expr:
    """An integer as an index. Outside 0 <= value < extent the run reports `where` (an op name) and uses 0."""
    return Expr("checked_index", (cast(value, int64),), int64, (extent, where))


def checked(value: Expr, condition: Expr, complaint: str) -> Expr:
    """The value; the run reports the complaint where the condition does not hold."""
    return Expr("checked", (value, condition), value.dtype, complaint)


def complaint_of(n: Expr) -> str | None:
    """What a node may report, if it checks something."""
    return n.attr[1] if n.op == "checked_index" else n.attr if n.op == "checked" else None


def as_offset(value: Expr) -> Dim:
    """A computed integer for use in an index; the value must be a temp, an index or a constant."""
    if value.op == "const":
        return int(value.attr.value)
    if value.op == "index":
        return value.attr  # type: ignore[no-any-return]
    assert value.op == "temp", f"bind {value} to a temp first"
    return atom("value", value.attr)


def walk(root: Expr) -> tuple[Expr, ...]:
    """Every node below an expression once, operands before users."""
    if not root._nodes:
        root._nodes = tuple(_ordered(root)) if root.args else (root,)
    return root._nodes


def _ordered(root: Expr) -> list[Expr]:
    order: list[Expr] = []
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
    return order


def dims_of(n: Expr) -> list[Dim]:
    """The index expressions that a node holds itself."""
    if n.op == "load":
        return [n.attr[1]]
    if n.op == "index":
        return [n.attr]
    return [n.attr[0]] if n.op == "checked_index" else []


def cost(root: Expr) -> int:
    """Scalar work of an expression, in additions."""
    if root._cost is None:
        root._cost = sum(map(_node_cost, walk(root)))
    return root._cost


def _node_cost(n: Expr) -> int:
    if n.op in SCALAR:
        return SCALAR[n.op].cost
    return {"checked_index": 4, "checked": 4, "lookup": 1}.get(n.op, 0)


def text(node: Expr) -> str:
    """One line, for printed loop nests."""
    if node.op == "const":
        return repr(node.attr) if node.dtype is bool_ else f"{node.attr!r}"
    if node.op in ("index", "temp"):
        return str(node.attr)
    if node.op == "load":
        mask = f" if {text(node.args[0])}" if node.args else ""
        return f"{node.attr[0]}[{node.attr[1]}{mask}]"
    if node.op == "cast" or node.op == "bitcast":
        return f"{node.op}.{node.dtype.code}({text(node.args[0])})"
    if node.op == "lookup":
        return f"{node.attr!r}[{text(node.args[0])}]"
    if node.op == "checked_index":
        return f"checked({text(node.args[0])} < {node.attr[0]})"
    if node.op == "checked":
        return f"checked({text(node.args[0])} if {text(node.args[1])})"
    return f"{node.op}({', '.join(text(a) for a in node.args)})"
