"""Tensor: one output of an operation, with Python's operators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from graphflow.compiler.errors import DTypeError, ShapeError
from graphflow.compiler.ir.dtypes import DType
from graphflow.compiler.ir.registry import HOOKS, REGISTRY
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.types import TensorType, as_dims

if TYPE_CHECKING:
    from graphflow.compiler.ir.graph import Graph, Operation


class TensorLike:
    """Python's operators for what converts to a tensor (Tensor and Variable)."""

    __slots__ = ()
    __array_priority__ = 100  # numpy arrays on the left leave the operator to us

    def __add__(self, other: Any) -> Tensor:
        return binary("add", self, other, "add")

    def __radd__(self, other: Any) -> Tensor:
        return binary("add", other, self, "add")

    def __sub__(self, other: Any) -> Tensor:
        return binary("sub", self, other, "sub")

    def __rsub__(self, other: Any) -> Tensor:
        return binary("sub", other, self, "sub")

    def __mul__(self, other: Any) -> Tensor:
        return binary("mul", self, other, "mul")

    def __rmul__(self, other: Any) -> Tensor:
        return binary("mul", other, self, "mul")

    def __truediv__(self, other: Any) -> Tensor:
        return binary("truediv", self, other, "truediv")

    def __rtruediv__(self, other: Any) -> Tensor:
        return binary("truediv", other, self, "truediv")

    def __floordiv__(self, other: Any) -> Tensor:
        return binary("floordiv", self, other, "floordiv")

    def __rfloordiv__(self, other: Any) -> Tensor:
        return binary("floordiv", other, self, "floordiv")

    def __mod__(self, other: Any) -> Tensor:
        return binary("floormod", self, other, "mod")

    def __rmod__(self, other: Any) -> Tensor:
        return binary("floormod", other, self, "mod")

    def __pow__(self, other: Any) -> Tensor:
        return binary("pow", self, other, "pow")

    def __rpow__(self, other: Any) -> Tensor:
        return binary("pow", other, self, "pow")

    def __matmul__(self, other: Any) -> Tensor:
        return binary("matmul", self, other, "matmul")

    def __rmatmul__(self, other: Any) -> Tensor:
        return binary("matmul", other, self, "matmul")

    def __lt__(self, other: Any) -> Tensor:
        return binary("less", self, other, "Less")

    def __le__(self, other: Any) -> Tensor:
        return binary("less_equal", self, other, "LessEqual")

    def __gt__(self, other: Any) -> Tensor:
        return binary("greater", self, other, "Greater")

    def __ge__(self, other: Any) -> Tensor:
        return binary("greater_equal", self, other, "GreaterEqual")

    def __and__(self, other: Any) -> Tensor:
        return binary("logical_and", self, other, "and")

    def __rand__(self, other: Any) -> Tensor:
        return binary("logical_and", other, self, "and")

    def __or__(self, other: Any) -> Tensor:
        return binary("logical_or", self, other, "or")

    def __ror__(self, other: Any) -> Tensor:
        return binary("logical_or", other, self, "or")

    def __xor__(self, other: Any) -> Tensor:
        return binary("logical_xor", self, other, "xor")

    def __invert__(self) -> Tensor:
        return unary("logical_not", self)

    def __neg__(self) -> Tensor:
        return unary("neg", self)

    def __abs__(self) -> Tensor:
        return unary("abs", self)

    def __getitem__(self, key: Any) -> Tensor:
        result: Tensor = HOOKS["getitem"](self, key)
        return result

    def __bool__(self) -> bool:
        raise TypeError("a tensor has no truth value while the graph is built: use tf.cond, or `is not None` "
                        "to test for its presence")

    def __iter__(self) -> Iterator[Tensor]:
        dims = self.get_shape().dims
        if not dims or dims[0].value is None:
            raise TypeError("only a tensor with a known first dim can be iterated over; "
                            "use tf.unstack or tf.map_fn")
        return iter([self[i] for i in range(dims[0].value)])

    def __len__(self) -> int:
        raise TypeError("len() of a tensor: use tensor.shape[0], "
                        "or tf.shape(tensor)[0] for its run-time value")

    def get_shape(self) -> TensorShape:
        raise NotImplementedError


class Tensor(TensorLike):
    """One output of an operation: a value that exists when a Session runs."""

    __slots__ = ("op", "index", "type")

    def __init__(self, op: Operation, index: int, type: TensorType) -> None:
        self.op = op
        self.index = index
        self.type = type

    @property
    def name(self) -> str:
        return f"{self.op.name}:{self.index}"

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self.type.dims)

    def get_shape(self) -> TensorShape:
        return TensorShape(self.type.dims)

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def value_index(self) -> int:
        return self.index

    def set_shape(self, shape: Any) -> None:
        """Add what is known of the shape; ShapeError when it contradicts what was known before."""
        dims, known = as_dims(shape), self.type.dims
        if dims is None:
            return
        if known is not None and not TensorShape(known).is_compatible_with(TensorShape(dims)):
            raise ShapeError(f"set_shape({TensorShape(dims)}) contradicts the shape {self.shape} "
                             f"of {self.name}")
        if known is not None:
            dims = tuple(b if a is None else a for a, b in zip(known, dims, strict=True))
        self.type = TensorType(self.dtype, dims)

    def consumers(self) -> list[Operation]:
        return [op for op in self.graph.operations if self in op.operands]

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """The value of this tensor in `session`, or in the default session."""
        from graphflow.compiler.ir.graph import default_session

        return default_session(session, self.graph).run(self, feed_dict)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:  # identity, as in TF1: tensors are dictionary keys
        return self is other

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise DTypeError(f"{self!r} has no value yet: run it in a Session before handing it to numpy")

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self.shape} dtype={self.dtype.name}>"

    def __str__(self) -> str:
        return f'Tensor("{self.name}", shape={self.shape}, dtype={self.dtype.name})'


def binary(op_name: str, a: Any, b: Any, name: str) -> Tensor:
    result: Tensor = REGISTRY[op_name](a, b, name=name)
    return result


def unary(op_name: str, a: Any) -> Tensor:
    result: Tensor = REGISTRY[op_name](a)
    return result
