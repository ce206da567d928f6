"""VariableHandle: what reads and writes of one variable have in common inside a graph."""

from __future__ import annotations

from graphflow.compiler.ir.types import TensorType


class VariableHandle:
    """A variable's identity, name and type; its value lives in the runtime's store, per session."""

    __slots__ = ("name", "type")

    def __init__(self, name: str, type: TensorType) -> None:
        self.name = name
        self.type = type

    def __repr__(self) -> str:
        return f"<variable {self.name} {self.type}>"
