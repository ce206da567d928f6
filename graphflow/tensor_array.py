"""TensorArray: tensors of one shape by number, written in loops and stacked at the end."""

from __future__ import annotations

from typing import Any

from graphflow.basics import graph_of
from graphflow.compiler.errors import ShapeError, UnsupportedError
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import as_dtype, int32
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ir.types import as_dims
from graphflow.compiler.ops import core, gathering, joining, rows, shapes
from graphflow.compiler.ops.shapes import dim_of, dim_value


class TensorArray:
    """An array of `size` tensors of one shape.

    It is a value: `write` gives a new array, and a loop carries it as one of its variables. What was never
    written reads as zeros.
    With dynamic_size it has room for the writes made outside of loops, or a place for each iteration of the
    loop that writes to it first.
    """

    def __init__(self, dtype: Any, size: Any = None, dynamic_size: bool | None = None,
                 clear_after_read: bool | None = None, tensor_array_name: str | None = None,
                 handle: Any = None, flow: Any = None, infer_shape: bool = True, element_shape: Any = None,
                 colocate_with_first_write_call: bool = True, name: str | None = None) -> None:
        self.dtype = as_dtype(dtype)
        self.dynamic_size = bool(dynamic_size)
        self._element = as_dims(element_shape)
        self._size = size
        if flow is not None:
            self.flow: Tensor = flow
            return
        if size is None:
            raise ValueError("TensorArray: a size is needed")
        known = self._element if self._element is not None and None not in self._element else None
        if self.dynamic_size:
            known = None  # the loop that writes to it first decides how many there are
        self.flow = rows.tensor_array(dtype=self.dtype, size=size, element=known, grows=self.dynamic_size,
                                      name=name or tensor_array_name or "TensorArray")

    def _with(self, flow: Tensor, element: Any = None, size: Any = None) -> TensorArray:
        """The same array with other contents."""
        element = self._element if element is None else element
        return TensorArray(self.dtype, self._size if size is None else size, self.dynamic_size, flow=flow,
                           element_shape=None if element is None else TensorShape(element))

    @property
    def element_shape(self) -> TensorShape:
        return TensorShape(self._element)

    @property
    def handle(self) -> Tensor:
        return self.flow

    @property
    def graph(self) -> Any:
        return self.flow.graph

    # Elements

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The tensor with this number."""
        found: Tensor = rows.row_at(self.flow, index, name=name or "TensorArrayRead")
        found.set_shape(self.element_shape)
        return found

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with one tensor set. A place is written once."""
        with self.graph.as_default():
            tensor = as_tensor(value, self.dtype, for_op="TensorArray.write")
            element = self._checked("write", tensor.type.dims)
            array = self._grown(index)
            flow = rows.row_store(array.flow, index, tensor, once=True, name=name or "TensorArrayWrite")
        return array._with(flow, element)

    def _grown(self, index: Any) -> TensorArray:
        """With dynamic_size, and sizes and places known now, an array that has the place."""
        if not self.dynamic_size or not isinstance(index, int) or not isinstance(self._size, int):
            return self
        if index < self._size:
            return self
        if self.flow.op.opdef is rows.tensor_array:
            return TensorArray(self.dtype, index + 1, True, element_shape=self.element_shape)
        more = index + 1 - self._size
        flow = shapes.reshape(self.flow, shape=(self._size, *(self._element or ())))
        padded = joining.pad(flow, paddings=((0, more), *((0, 0) for _ in self._element or ())))
        return self._with(padded, size=index + 1)

    def _checked(self, what: str, dims: Any) -> Any:
        """The shape of an element, from what was known and a value."""
        if not TensorShape(self._element).is_compatible_with(TensorShape(dims)):
            raise ShapeError(f"TensorArray.{what}: a value of shape {TensorShape(dims)} in an array of "
                             f"{self.element_shape}")
        return as_dims(TensorShape(self._element).merge_with(TensorShape(dims)))

    # All of it

    def stack(self, name: str | None = None) -> Tensor:
        """All tensors as one, with a first axis for their numbers."""
        found: Tensor = core.identity(self.flow, name=name or "TensorArrayStack")
        if self._element is not None:
            found.set_shape([self._size if isinstance(self._size, int) else None, *self._element])
        return found

    pack = stack

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The tensors with these numbers as one."""
        found: Tensor = gathering.gather(self.stack(), indices, name=name)
        return found

    def concat(self, name: str | None = None) -> Tensor:
        """All tensors joined along their own first axis."""
        stacked = self.stack()
        if stacked.type.rank is None or stacked.type.rank < 2:
            raise ShapeError(f"TensorArray.concat: elements of shape {self.element_shape} have no first axis")
        rest = [dim_of(stacked, k) for k in range(2, stacked.type.rank)]
        found: Tensor = shapes.reshape(stacked, shape=(-1, *rest), name=name)
        return found

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The array of the rows of `value`."""
        with self.graph.as_default():
            tensor = as_tensor(value, self.dtype, for_op="TensorArray.unstack")
        dims = tensor.type.dims
        if dims == ():
            raise ShapeError(f"TensorArray.unstack: {tensor.name} is a scalar")
        if dims is not None and isinstance(self._size, int) and isinstance(dims[0], int) and \
                self._size != dims[0] and not self.dynamic_size:
            raise ShapeError(f"TensorArray.unstack: {tensor.name} has {dims[0]} rows, the array {self._size}")
        element = self._checked("unstack", None if dims is None else dims[1:])
        known = dims[0] if dims is not None and isinstance(dims[0], int) else self._size
        return self._with(core.identity(tensor, name=name), element, known)

    unpack = unstack

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with the rows of `value` at the places `indices`, added to places not yet written."""
        with self.graph.as_default():
            tensor = as_tensor(value, self.dtype, for_op="TensorArray.scatter")
            element = self._checked("scatter", None if tensor.type.dims is None else tensor.type.dims[1:])
            flow = gathering.scatter_sum(tensor, as_tensor(indices), size=self._size, name=name)
            if self.flow.op.opdef is not rows.tensor_array:
                flow = self.flow + flow
        return self._with(flow, element)

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The array of parts of `value`, all of one length."""
        parts = lengths if isinstance(lengths, (list, tuple)) else None
        if parts is None or len(set(parts)) != 1 or not isinstance(parts[0], int):
            raise UnsupportedError("TensorArray.split: only into parts of one length, known now")
        with self.graph.as_default():
            tensor = as_tensor(value, self.dtype, for_op="TensorArray.split")
            rest = [dim_of(tensor, k) for k in range(1, tensor.type.rank or 1)]
            return self.unstack(shapes.reshape(tensor, shape=(len(parts), parts[0], *rest)), name)

    def size(self, name: str | None = None) -> Tensor:
        """How many tensors there are room for."""
        with self.graph.as_default():
            if isinstance(self._size, (int, Tensor)):
                return as_tensor(self._size, int32)
            found: Tensor = dim_value(value=self._size, dtype=int32, name=name)
            return found

    def identity(self) -> TensorArray:
        return self

    def close(self, name: str | None = None) -> Any:
        """Nothing to do: memory is the compiler's affair."""
        with graph_of([self.flow]).as_default():
            return core.no_op(name=name)

    def grad(self, source: Any, flow: Any = None, name: str | None = None) -> Any:
        raise UnsupportedError("TensorArray.grad: tf.gradients differentiates through arrays by itself")

    def __repr__(self) -> str:
        return f"<tf.TensorArray {self.dtype.name} size={self._size} element_shape={self.element_shape}>"
