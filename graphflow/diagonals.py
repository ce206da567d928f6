"""The diagonals of matrices, which are the last two axes of a tensor."""

from __future__ import annotations

from typing import Any

from graphflow.arrays import expand_dims, eye, gather, range_, reshape
from graphflow.basics import name_scope
from graphflow.compiler.errors import ShapeError, UnsupportedError
from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import bool_, int32, int64
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import logic, reductions, shapes
from graphflow.compiler.ops.shapes import dim_of


def matrix_diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonals of matrices: [..., m, n] -> [..., min(m, n)]."""
    with name_scope(name, "MatrixDiagPart", [input]):
        x = _matrices("matrix_diag_part", input)
        *front, m, n = (dim_of(x, k) for k in range(x.type.rank or 0))
        size = m * n
        dtype = int32 if isinstance(size, int) and size <= int32.max else int64
        places = range_(D.minimum(m, n), dtype=dtype) * shapes.dim_value(value=n + 1, dtype=dtype)
        return gather(reshape(x, [*front, m * n]), places, axis=len(front))


def matrix_diag(diagonal: Any, name: str | None = None) -> Tensor:
    """Square matrices, zero but for their diagonals: [..., n] -> [..., n, n]."""
    with name_scope(name, "MatrixDiag", [diagonal]):
        d = as_tensor(diagonal)
        if not d.type.rank:
            raise ShapeError(f"matrix_diag: {d.name} is {d.type}, but a known rank of 1 or more is needed")
        result: Tensor = logic.where_v2(eye(dim_of(d, -1), dtype=bool_), expand_dims(d, -1), _zero(d))
        return result


def matrix_set_diag(input: Any, diagonal: Any, name: str | None = None) -> Tensor:
    """Matrices with other diagonals: [..., m, n] and [..., min(m, n)] -> [..., m, n]."""
    with name_scope(name, "MatrixSetDiag", [input, diagonal]):
        x = _matrices("matrix_set_diag", input)
        d = as_tensor(diagonal, x.dtype, for_op="matrix_set_diag")
        if d.type.rank != (x.type.rank or 0) - 1:
            raise ShapeError(f"matrix_set_diag: {d.name} is {d.type}, which are no diagonals of {x.type}")
        m, n = dim_of(x, -2), dim_of(x, -1)
        spread = expand_dims(d, -1) if D.minimum(m, n) == m else expand_dims(d, -2)
        if not (isinstance(m, int) and isinstance(n, int)) and m != n:
            raise UnsupportedError("matrix_set_diag: both dims of the matrices must be known")
        result: Tensor = logic.where_v2(eye(m, n, dtype=bool_), spread, x)
        return result


def tensor_diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonal of a tensor of shape [dims..., the same dims...]: [dims...]."""
    with name_scope(name, "DiagPart", [input]):
        x = as_tensor(input)
        rank = x.type.rank
        if not rank or rank % 2 or any(
                isinstance(a, int) and isinstance(b, int) and a != b
                for a, b in zip(x.shape.as_list()[:rank // 2], x.shape.as_list()[rank // 2:], strict=True)):
            raise ShapeError(f"diag_part: {x.name} is {x.type}, but its dims must be some, and these again")
        half = [dim_of(x, k) for k in range(rank // 2)]
        size = D.product(half)
        return reshape(matrix_diag_part(reshape(x, [size, size])), half)


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sums of the diagonals of matrices: [..., m, n] -> [...]."""
    with name_scope(name, "Trace", [x]):
        result: Tensor = reductions.reduce_sum(matrix_diag_part(x), axis=-1)
        return result


def _matrices(what: str, value: Any) -> Tensor:
    x = as_tensor(value)
    if x.type.rank is None or x.type.rank < 2:
        raise ShapeError(f"{what}: {x.name} is {x.type}, but matrices of a known rank are needed")
    return x


def _zero(like: Tensor) -> Tensor:
    result: Tensor = as_tensor(0, like.dtype)
    return result
