"""tf.einsum: sums of products by named axes, as transposes, products of matrices and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphflow.arrays import reshape, transpose
from graphflow.basics import name_scope
from graphflow.compiler.errors import ShapeError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import equations
from graphflow.compiler.ops.shapes import dim_of
from graphflow.diagonals import matrix_diag_part
from graphflow.math import matmul, multiply, reduce_sum

_AXES_OF_DOTS = "0123456789"  # labels of the axes that "..." stands for, from the right


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Tensor:
    """Multiply tensors and sum over the axes that the result lacks; from left to right.

    equation  a letter for each axis: "ij,jk->ik" is a product of matrices, "...ij->...ji" a transpose, "ii->"
              a trace. Without "->" the result has the letters that occur once, in alphabetical order.
    Shapes:   axes with one letter have one dim; the axes of "..." broadcast
    Raises:   ShapeError for an equation that does not fit the ranks or dims of the operands
    Source:   TF 1.15 tf.einsum, with the diagonals and "..." of numpy.einsum
    """
    with name_scope(name, "einsum", list(inputs)):
        first = as_tensor(inputs[0], for_op="einsum") if inputs else None
        tensors = [as_tensor(x, None if first is None else first.dtype, for_op="einsum") for x in inputs]
        sides, result = _parsed(equation, tensors)
        checked = equations.einsum.apply(tensors, None, {"equation": equation, "sides": ",".join(sides)})
        terms = [_diagonal(t, labels) for t, labels in zip(checked.outputs, sides, strict=True)]
        total, labels = terms[0]
        for k, (t, other) in enumerate(terms[1:], 1):
            later = result + "".join(rest for _, rest in terms[k + 1:])
            total, labels = _product(total, labels, t, other, later)
        return _arranged(total, labels, result)


def _parsed(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    """The labels of each operand's axes, and the result's; the axes of "..." have digits."""
    text = "".join(equation.split())
    left, arrow, right = text.partition("->")
    sides = left.split(",")
    letters = text.replace("->", "").replace("...", "").replace(",", "")
    if len(sides) != len(tensors) or not (letters.isalpha() or not letters) or text.count("->") > 1:
        raise ShapeError(f"einsum {equation!r}: letters for the axes of {len(tensors)} operands are needed, "
                         f'separated by commas, as in "ij,jk->ik"')
    found = [_with_dots(equation, k, s, t) for k, (s, t) in enumerate(zip(sides, tensors, strict=True))]
    every = "".join(found)
    dots = "".join(sorted({c for c in every if c.isdigit()}, reverse=True))
    if not arrow:
        return found, dots + "".join(sorted(c for c in set(every) if every.count(c) == 1 and c.isalpha()))
    result = right.replace("...", dots)
    if not set(dots) <= set(result) <= set(every) or len(set(result)) < len(result) or "." in result:
        raise ShapeError(f"einsum {equation!r}: the result's letters must be different ones of the operands, "
                         f'and "..." if these have it')
    return found, result


def _with_dots(equation: str, k: int, labels: str, t: Tensor) -> str:
    if t.type.rank is None:
        raise ShapeError(f"einsum {equation!r}: the rank of operand {k}, {t.name}, is unknown\n"
                         f"hint: t.set_shape([None, ...]) tells it")
    extra = t.type.rank - len(labels.replace("...", ""))
    if extra < 0 or ("..." not in labels and extra) or extra > len(_AXES_OF_DOTS) or labels.count(".") % 3:
        raise ShapeError(f"einsum {equation!r}: {labels!r} does not name the axes of operand {k}, {t.name}: "
                         f"{t.type}, made at {t.op.source[0]}:{t.op.source[1]}")
    return labels.replace("...", _AXES_OF_DOTS[:extra][::-1])


def _diagonal(t: Tensor, labels: str) -> tuple[Tensor, str]:
    """Without the second axis of any label."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i, j = labels.index(label), labels.rindex(label)
            rest = [k for k in range(len(labels)) if k not in (i, j)]
            t = matrix_diag_part(transpose(t, [*rest, i, j]))
            labels = "".join(labels[k] for k in rest) + label
    return t, labels


def _summed(t: Tensor, labels: str, wanted: str) -> tuple[Tensor, str]:
    over = [k for k, label in enumerate(labels) if label not in wanted]
    kept = "".join(label for label in labels if label in wanted)
    return (reduce_sum(t, over) if over else t), kept


def _product(a: Tensor, la: str, b: Tensor, lb: str, later: str) -> tuple[Tensor, str]:
    """a * b, summed over what neither the result nor a later operand has."""
    a, la = _summed(a, la, lb + later)
    b, lb = _summed(b, lb, la + later)
    batch = "".join(c for c in la if c in lb and (c in later or c.isdigit()))
    inner = "".join(c for c in la if c in lb and c not in batch)
    rows, columns = ("".join(c for c in labels if c not in batch + inner) for labels in (la, lb))
    if not inner or not (rows or columns):
        left = _spread(a, la, batch + rows + inner, columns, after=len(batch + rows))
        right = _spread(b, lb, batch + columns + inner, rows, after=len(batch))
        product = multiply(left, right)
        count = len(batch + rows + columns)
        total = reduce_sum(product, list(range(count, count + len(inner)))) if inner else product
        return total, batch + rows + columns
    left = _grouped(a, la, batch, rows, inner)
    right = _grouped(b, lb, batch, inner, columns)
    product = matmul(left, right)
    dims = [*(dim_of(product, k) for k in range(len(batch))), *_dims(a, la, rows), *_dims(b, lb, columns)]
    return reshape(product, dims), batch + rows + columns


def _dims(t: Tensor, labels: str, wanted: str) -> list[Any]:
    return [dim_of(t, labels.index(c)) for c in wanted]


def _ordered(t: Tensor, labels: str, wanted: str) -> Tensor:
    return t if labels == wanted else transpose(t, [labels.index(c) for c in wanted])


def _spread(t: Tensor, labels: str, order: str, others: str, after: int) -> Tensor:
    """The axes in an order, with axes of 1 for those of the other operand."""
    t, dims = _ordered(t, labels, order), _dims(t, labels, order)
    return reshape(t, [*dims[:after], *(1 for _ in others), *dims[after:]]) if others else t


def _grouped(t: Tensor, labels: str, batch: str, first: str, second: str) -> Tensor:
    """Matrices: the axes of `first` as one, and those of `second`."""
    dims = _dims(t, labels, batch)
    sides = [_dims(t, labels, part) for part in (first, second)]
    t = _ordered(t, labels, batch + first + second)
    if len(first) == len(second) == 1:
        return t
    for side in sides:
        size: Any = 1
        for d in side:
            size = d * size
        dims.append(size)
    return reshape(t, dims)


def _arranged(t: Tensor, labels: str, result: str) -> Tensor:
    t, labels = _summed(t, labels, result)
    return _ordered(t, labels, result)
