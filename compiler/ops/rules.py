"""Infer rules: dtype and shape of a result, with the error text when operands do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.dims import Dim, Poly
from graphflow.compiler.ir.dtypes import DType, bool_
from graphflow.compiler.ir.explain import as_given, dtype_error, labels, shape_error
from graphflow.compiler.ir.graph import Operation, tensors_in
from graphflow.compiler.ir.regions import all_operations, subgraphs
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import TensorType
from graphflow.compiler.loops import expr as E
from graphflow.compiler.loops.forms import Pointwise

Infer = Callable[[Operation], TensorType]
_CONVERSIONS = {"float": "tf.cast(x, tf.float32) converts it",
                "number": "tf.cast(x, tf.float32) converts it",
                "int": "tf.cast(x, tf.int32) converts it", "bool": "compare it: x != 0"}
KINDS = {"float": ("float",), "number": ("float", "int", "uint"), "int": ("int", "uint"), "bool": ("bool",),
         "any": ("float", "int", "uint", "bool")}


def check_kind(op: Operation, kind: str, operands: Sequence[Tensor] | None = None) -> None:
    """Every operand (or the given ones) must be of a kind: float, number, int, bool or any."""
    for t in op.operands if operands is None else operands:
        if t.dtype.kind not in KINDS[kind]:
            want = {"float": "a float dtype", "number": "a number", "int": "an int dtype",
                    "bool": "bool"}[kind]
            raise dtype_error(op, f"(C1): {t.name} is {t.dtype.name}, but {want} is needed",
                              _CONVERSIONS[kind])


def equal_dims(op: Operation, operands: Sequence[Any], skip: int | None = None) -> Any:
    """The common dims of tensors (or tuples of dims) that must be of one shape; None when no rank is.

    skip  an axis that is left alone: its dim is the first one's
    """
    result: Any = None
    for t in operands:
        dims = t.type.dims if isinstance(t, Tensor) else t
        if result is None or dims is None:
            result = result if dims is None else dims
            continue
        try:
            result = tuple(a if k == skip else op.graph.rules.equal(a, b)
                           for k, (a, b) in enumerate(zip(result, dims, strict=True)))
        except ValueError:
            but = "" if skip is None else f" but for axis {skip}"
            raise shape_error(op, f"(C2): shapes must be equal{but}, but {_dims_text(result)} is not "
                                  f"{_dims_text(dims)}") from None
    return result


def require_within(op: Operation, low: Dim, value: Dim | None, high: Dim | None) -> None:
    """low <= value <= high is checked at each run unless it is proved; raises ValueError when it is false."""
    if value is None:
        return
    op.graph.rules.require(D.maximum(value, low), value)
    if high is not None:
        op.graph.rules.require(D.minimum(value, high), value)


def listed(op: Operation, key: str) -> Any:
    """An attribute that is a list of numbers; a Tensor where not even their count is known."""
    value = op.attrs[key]
    if not isinstance(value, Tensor) and not (isinstance(value, tuple) and all(map(_is_dim, value))):
        raise shape_error(op, f"(C1): {key} must be a list of whole numbers, not {as_given(value)}")
    return value


def single(op: Operation, key: str) -> Dim | None:
    """An attribute that is one number; None where only the run knows it."""
    value = op.attrs[key]
    if not isinstance(value, Tensor) and not _is_dim(value):
        raise shape_error(op, f"(C1): {key} must be one whole number, not {as_given(value)}")
    return open_dims([value])[0]


def _is_dim(value: object) -> bool:
    return isinstance(value, (int, Poly))


def open_dims(dims: Iterable[Dim | None]) -> tuple[Dim | None, ...]:
    """Dims as a type holds them: one that refers to a tensor's run-time shape or value is an unknown."""
    return tuple(None if isinstance(d, Poly) and next(tensors_in(d), None) is not None else d for d in dims)


def same_dtype(op: Operation) -> DType:
    """The one dtype of all operands."""
    first = op.operands[0]
    for t in op.operands[1:]:
        if t.dtype is not first.dtype:
            wanted = t.dtype if t.dtype.is_floating else first.dtype
            text = f"{first.name} is {first.dtype.name} and {t.name} is {t.dtype.name}"
            raise dtype_error(op, f"(C1): operands must be of one dtype, but {text}",
                              f"tf.cast(x, tf.{wanted.name}) converts one")
    return first.dtype


def broadcast_dims(op: Operation, operands: Sequence[Tensor] | None = None) -> Any:
    """The dims of operands broadcast together under numpy's rule, or None for an unknown rank."""
    operands = op.operands if operands is None else operands
    result: tuple[Dim | None, ...] = ()
    for t in operands:
        dims = t.type.dims
        if dims is None:
            return None
        if not result or not dims:
            result = result or dims
            continue
        if dims == result:
            continue
        rank = max(len(result), len(dims))
        a, b = (1,) * (rank - len(result)) + result, (1,) * (rank - len(dims)) + dims
        try:
            result = tuple(map(op.graph.rules.broadcast, a, b))
        except ValueError:
            raise shape_error(op,
                              f"(C2): shapes {' and '.join(_shape(t) for t in operands)} do not broadcast: "
                                  f"aligned from the right, dims must be equal or 1",
                              _broadcast_hint(operands)) from None
    return result


def _shape(t: Tensor) -> str:
    return str(t.type)[str(t.type).index("["):]


def _dims_text(dims: Iterable[Dim | None]) -> str:
    return f"[{','.join('?' if d is None else str(d) for d in dims)}]"


def _broadcast_hint(operands: Sequence[Tensor]) -> str:
    if len(operands) == 2:
        a, b = operands[0].type.dims or (), operands[1].type.dims or ()
        if a and b and len(a) != len(b) and (a[0] == b[0]):
            return "tf.expand_dims(x, -1) would align the first axes"
    return ""


def elementwise(kind: str = "number") -> Infer:
    """One dtype of the kind, operands broadcast together."""
    def rule(op: Operation) -> TensorType:
        check_kind(op, kind)
        dtype, dims = same_dtype(op), broadcast_dims(op)
        for t in op.operands:  # most often it is the type of one of them
            if t.type.dims is dims:
                return t.type
        return TensorType(dtype, dims)
    return rule


def comparison(kind: str = "number") -> Infer:
    """As elementwise; the result is bool."""
    def rule(op: Operation) -> TensorType:
        check_kind(op, kind)
        same_dtype(op)
        return TensorType(bool_, broadcast_dims(op))
    return rule


def like_first(kind: str = "any") -> Infer:
    """The type of operand 0."""
    def rule(op: Operation) -> TensorType:
        check_kind(op, kind, op.operands[:1])
        return op.operands[0].type
    return rule


def normal_axis(op: Operation, axis: int, rank: int, what: str = "axis") -> int:
    """An axis as 0 <= axis < rank; negative ones count from the end."""
    if not isinstance(axis, int):
        raise shape_error(op, f"(C3): {what} must be known while the graph is built, but it is {axis}")
    if not -rank <= axis < rank:
        raise shape_error(op, f"(C3): {what} {axis} is outside of [-{rank}, {rank})")
    return axis % rank


def may_fail(op: Operation) -> bool:
    """Whether a run may find fault with the operands, by what is known of them."""
    if not isinstance(op.opdef.lower, Pointwise) or not op.opdef.fails:
        return op.opdef.fails or any(may_fail(o) for g in subgraphs(op) for o in all_operations(g))

    def load(k: int, index: E.Index, mask: E.Expr | None = None) -> E.Expr:
        t = op.operands[k]
        known = t.op.opdef.name == "constant" and t.type.size == 1
        return E.const(t.op.value.array.ravel()[0], t.dtype) if known else E.temp(f"a{k}", t.dtype)

    value = op.opdef.lower.value(op, (0,) * (op.out.type.rank or 0), load, lambda e: e)
    return any(map(E.complaint_of, E.walk(value)))


def axes_of(op: Operation) -> tuple[int, ...]:
    """The `axis` attribute of a reduction as ascending axes of operand 0; None means all."""
    rank = op.operands[0].type.rank
    assert rank is not None
    axis = op.attrs["axis"]
    if axis is None:
        return tuple(range(rank))
    axes = [normal_axis(op, a, rank) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if len(set(axes)) != len(axes):
        raise shape_error(op, f"(C3): axis {axis} names an axis twice")
    return tuple(sorted(axes))


def reduced(kind: str = "number", dtype: DType | None = None) -> Infer:
    """Operand 0 without the axes in `axis` (kept as 1 with keepdims)."""
    def rule(op: Operation) -> TensorType:
        check_kind(op, kind)
        a = op.operands[0].type
        if a.dims is None:
            scalar = op.attrs["axis"] is None and not op.attrs["keepdims"]
            return TensorType(dtype or a.dtype, () if scalar else None)
        axes = axes_of(op)
        keep = op.attrs["keepdims"]
        dims = tuple(1 if k in axes else d for k, d in enumerate(a.dims) if keep or k not in axes)
        return TensorType(dtype or a.dtype, dims)
    return rule


def signature(text: str, kind: str = "number", dtype_of: Callable[[Operation], DType] = same_dtype) -> Infer:
    """A rule from names of dims: "... m k, ... k n -> ... m n". Equal names are equal dims, "..." broadcasts.

    With attributes `transpose_a`, `transpose_b` the last two names of that operand change places.
    """
    left, right = text.split("->")
    sides = [part.split() for part in left.split(",")]

    def rule(op: Operation) -> TensorType:
        check_kind(op, kind)
        dtype = dtype_of(op)
        if any(t.type.dims is None for t in op.operands):
            return TensorType(dtype, None)
        bound: dict[str, Dim | None] = {}
        batch: tuple[Dim | None, ...] = ()
        for k, names in enumerate(sides):
            names = _transposed(op, k, names)
            head = _bind(op, text, k, [n for n in names if n != "..."], "..." in names, bound)
            batch = _broadcast_batch(op, text, batch, head)
        out = [n for n in right.split() if n != "..."]
        return TensorType(dtype, batch + tuple(bound[n] for n in out))
    return rule


def _transposed(op: Operation, k: int, names: list[str]) -> list[str]:
    if op.attrs.get(f"transpose_{'ab'[k]}" if k < 2 else ""):
        return [*names[:-2], names[-1], names[-2]]
    return names


def _bind(op: Operation, text: str, k: int, names: list[str], open_front: bool,
          bound: dict[str, Dim | None]) -> tuple[Dim | None, ...]:
    """Match the trailing dims of operand k to names; gives the dims in front."""
    t, label = op.operands[k], labels(op)[k]
    dims = t.type.dims or ()
    if len(dims) < len(names) or (len(dims) > len(names) and not open_front):
        raise shape_error(op, f'"{text.strip()}" (C2): {label} has rank {len(dims)}, but rank {len(names)}'
                              f'{" or more" if open_front else ""} is needed')
    cut = len(dims) - len(names)
    for name, d in zip(names, dims[cut:], strict=True):
        try:
            bound[name] = op.graph.rules.equal(bound[name], d) if name in bound else d
        except ValueError:
            other = next(lab for lab, side in zip(labels(op), _sides(op, text), strict=True) if name in side)
            raise shape_error(op,
                              f'"{text.strip()}" (C1): {name} is {bound[name]} in {other} but {d} in {label}',
                              _transpose_hint(op, bound[name])) from None
    return dims[:cut]


def _sides(op: Operation, text: str) -> list[list[str]]:
    return [part.split() for part in text.split("->")[0].split(",")]


def _transpose_hint(op: Operation, wanted: Dim | None) -> str:
    if "transpose_b" not in op.attrs or len(op.operands) != 2:
        return ""
    a, b = op.operands[0].type.dims or (), op.operands[1].type.dims or ()
    if len(b) >= 2 and b[-1 if not op.attrs["transpose_b"] else -2] == wanted:
        return f"transpose_b={not op.attrs['transpose_b']} would fit"
    k = b[-2 if not op.attrs["transpose_b"] else -1] if len(b) >= 2 else None
    if len(a) >= 2 and a[-2 if not op.attrs["transpose_a"] else -1] == k:
        return f"transpose_a={not op.attrs['transpose_a']} would fit"
    return ""


def _broadcast_batch(op: Operation, text: str, a: Any, b: Any) -> tuple[Dim | None, ...]:
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    try:
        return tuple(map(op.graph.rules.broadcast, a, b))
    except ValueError:
        raise shape_error(op, f'"{text.strip()}" (C2): the leading dims {_dims_text(a)} and {_dims_text(b)} '
                              f'do not broadcast') from None
