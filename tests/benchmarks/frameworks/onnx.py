"""ONNX Runtime, for inference: a workload's nodes become a model, images channels first as it wants them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.workload import Arrays, Values, Workload


class Nodes:
    """Nodes of a model in the making; values are their names."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        output = f"v{len(self.made)}"
        self.made.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output


def build(workload: Workload, params: Arrays, data: Arrays, rate: float, cores: int) -> Callable[[], Any]:
    import onnxruntime
    from onnx import helper, numpy_helper

    nodes = Nodes()
    data = {k: _first(v, (0, 3, 1, 2)) for k, v in data.items()}
    params = {k: _first(v, (3, 2, 0, 1)) for k, v in params.items()}
    output = workload.onnx(nodes, Values({k: k for k in params}), Values({k: k for k in data}))
    inputs = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
              for k, v in data.items()]
    graph = helper.make_graph(nodes.made, workload.key, inputs,
                              [helper.make_tensor_value_info(output, 1, None)],
                              [numpy_helper.from_array(v, k) for k, v in params.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = cores, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    return functools.partial(session.run, [output], data)


def _first(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(axes)) if array.ndim == 4 else array
