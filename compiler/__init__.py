"""The pure half of graphflow: a Graph goes in, a Program (plain data) comes out."""

if __name__ != "graphflow.compiler":
    raise ImportError("import graphflow.compiler, not compiler: two names make two copies of every class")
