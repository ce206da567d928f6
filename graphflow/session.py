"""Session: runs parts of a graph and keeps the values of its variables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from graphflow.basics import flatten
from graphflow.compiler.errors import DTypeError, GraphError, ShapeError
from graphflow.compiler.ir.convert import as_array, short
from graphflow.compiler.ir.graph import Graph, get_default_graph, session_stack
from graphflow.compiler.ir.shape import TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.config import ConfigProto
from graphflow.fetches import Rebuild, plan_fetches, structure_key
from graphflow.runtime.engine import Engine
from graphflow.runtime.variables import VariableStore
from graphflow.variables import Variable

Call = Callable[..., list[Any]]


class Session:
    """Runs parts of a graph; every session has its own values of the variables.

    Used as a context manager it is the default session with the default graph, and closed at the end.
    What a run of given fetches and feeds needs is compiled once; more operations in the graph change nothing.
    """

    def __init__(self, target: str = "", graph: Graph | None = None,
                 config: ConfigProto | None = None) -> None:
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"Session: graph is a tf.Graph, not {graph!r}")
        self._graph = graph or get_default_graph()
        self._config = config or ConfigProto()
        self._target = target
        self._engine: Engine | None = Engine(self._graph, VariableStore(),
                                              self._config.intra_op_parallelism_threads)
        self._plans: dict[Any, tuple[Call, Rebuild | None]] = {}
        self._exits: list[contextlib.ExitStack] = []

    @property
    def engine(self) -> Engine:
        """What compiles and keeps the programs of this session."""
        if self._engine is None:
            raise RuntimeError("this session is closed")
        return self._engine

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def sess_str(self) -> str:
        return self._target

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """The values of `fetches`, in a structure like theirs; None for an operation.

        fetches    tensors, variables, operations, names; lists, tuples, dicts, named tuples of those
        feed_dict  tensor (or name) -> value for this run: a number, list or array of its dtype and shape
        Raises:    InvalidArgumentError for a placeholder without a value; GraphError for a fetch that the
                   graph does not have; ShapeError, DTypeError for a value that does not fit; RuntimeError
                   for a closed session
        """
        try:  # the hit path: a key without walking the fetches; whatever it cannot hash goes the long way
            feeds = tuple(feed_dict) if feed_dict else ()
            kind = type(fetches)
            call, rebuild = self._plans[kind, tuple(fetches) if kind is list else fetches, feeds]
        except (KeyError, TypeError):
            call, rebuild = self._prepare(fetches, feed_dict)
        values = call(*feed_dict.values()) if feed_dict else call()
        return values if rebuild is None else rebuild(values)

    def _prepare(self, fetches: Any, feed_dict: Any) -> tuple[Call, Rebuild | None]:
        if feed_dict is not None and not isinstance(feed_dict, Mapping):
            raise TypeError(f"Session.run: feed_dict is a dict of tensor: value, not {short(feed_dict)}")
        feeds = tuple(feed_dict or ())
        deep = structure_key(fetches), feeds
        try:  # nested fetches, which `run` finds no key for
            prepared = self._plans.get(deep)
        except TypeError:
            return self._compile(fetches, feeds)
        if prepared is None:
            prepared = self._plans[deep] = self._compile(fetches, feeds)
        with contextlib.suppress(TypeError):
            if not _holds_tuple(fetches):
                kind = type(fetches)
                self._plans[kind, tuple(fetches) if kind is list else fetches, feeds] = prepared
        return prepared

    def _compile(self, fetches: Any, feeds: Sequence[Any]) -> tuple[Call, Rebuild | None]:
        engine = self.engine
        plan = plan_fetches(self._graph, fetches)
        tensors = [_feedable(self._graph, f) for f in flatten(list(feeds))]
        order = sorted(range(len(tensors)), key=lambda k: (tensors[k].op.id, tensors[k].index))
        if len(set(tensors)) != len(tensors):
            raise GraphError(f"Session.run: a tensor is fed twice: {', '.join(t.name for t in tensors)}")
        # one program for all orders of the same feeds
        call: Call = engine.prepare(plan.tensors, plan.targets, [tensors[k] for k in order]).call
        if order != list(range(len(order))):
            call = _reordered(call, order)
        return (_spreading(call, feeds) if _holds_tuple(feeds) else call), plan.rebuild

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] | None = None,
                      accept_options: bool = False) -> Callable[..., Any]:
        """A function of the values of `feed_list`, by position: the fastest way to run the same thing often.

        With `accept_options` the function also takes `options` and `run_metadata`, as `run` does.
        """
        call, rebuild = self._compile(fetches, tuple(feed_list or ()))
        fast = call if rebuild is None else _rebuilding(call, rebuild)
        if not accept_options:
            return fast
        return lambda *values, options=None, run_metadata=None: fast(*values)

    def load(self, variable: Variable, value: Any) -> None:
        """Set the value of a variable in this session."""
        store = self.engine.store
        array = as_array(value, variable.dtype, for_op=f"load of {variable.name}")
        if not variable.shape.is_compatible_with(TensorShape(array.shape)):
            raise ShapeError(f"load: {variable.name} has the shape {variable.shape}, the value {array.shape}")
        store.write(variable.handle, array)

    def close(self) -> None:
        """Free the values of the variables; the session cannot run any more."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self._plans = {}

    def list_devices(self) -> list[str]:
        return ["/job:localhost/replica:0/task:0/device:CPU:0"]

    @contextlib.contextmanager
    def as_default(self) -> Iterator[Session]:
        """Make this the session of `tensor.eval()` and `op.run()`; it is not closed at the end."""
        stack = session_stack()
        stack.append(self)
        try:
            yield self
        finally:
            _remove_last(stack, self)

    def __enter__(self) -> Session:
        stack = contextlib.ExitStack()
        stack.enter_context(self._graph.as_default())
        stack.enter_context(self.as_default())
        self._exits.append(stack)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._exits.pop().__exit__(kind, error, trace)
        self.close()


class InteractiveSession(Session):
    """A session that is the default one from its making until `close`."""

    def __init__(self, target: str = "", graph: Graph | None = None,
                 config: ConfigProto | None = None) -> None:
        super().__init__(target, graph, config)
        self._entered = contextlib.ExitStack()
        if graph is not None:
            self._entered.enter_context(graph.as_default())
        self._entered.enter_context(self.as_default())

    def close(self) -> None:
        """Stop being the default session, and free the values of the variables."""
        self._entered.close()
        super().close()


def get_default_session() -> Session | None:
    """The innermost session in force, or None."""
    stack = session_stack()
    return stack[-1] if stack else None


def _feedable(graph: Graph, key: Any) -> Tensor:
    element = graph.as_graph_element(key)
    if not isinstance(element, Tensor):
        raise DTypeError(f"Session.run: only tensors can be fed; {key!r} names an operation, its output is "
                         f"'{element.name}:0'")
    return element


def _reordered(call: Call, order: Sequence[int]) -> Call:
    return lambda *values: call(*[values[k] for k in order])


def _spreading(call: Call, keys: Sequence[Any]) -> Call:
    """For feed keys that are tuples of tensors, such as the state of an LSTM."""
    return lambda *values: call(*[leaf for k, v in zip(keys, values, strict=True) for leaf in _leaves(k, v)])


def _leaves(key: Any, value: Any) -> list[Any]:
    """The parts of a fed value that stand where `key` has tensors."""
    if not isinstance(key, tuple):
        return [value]
    if len(key) != len(value):
        raise ShapeError(f"Session.run: a tuple of {len(key)} tensors is fed with {len(value)} values")
    return [leaf for k, v in zip(key, value, strict=True) for leaf in _leaves(k, v)]


def _holds_tuple(items: Any) -> bool:
    """Whether a list or tuple has tuples in it; equal ones may differ in kind, so they make no cache key."""
    return isinstance(items, (list, tuple)) and any(isinstance(i, tuple) for i in items)


def _rebuilding(call: Call, rebuild: Rebuild) -> Callable[..., Any]:
    return lambda *values: rebuild(call(*values))


def _remove_last(stack: list[Any], item: Any) -> None:
    """Sessions may be left in another order than they were entered, as interactive ones are."""
    for k in reversed(range(len(stack))):
        if stack[k] is item:
            del stack[k]
            return
