"""The half of graphflow that owns side effects: numba, memory, variables and files."""

if __name__ != "graphflow.runtime":
    raise ImportError("import graphflow.runtime, not runtime: two names make two copies of every class")
