"""Scalar expressions, loop nests, and the forms in which an op record says how it lowers."""

from graphflow.compiler.late import late_modules

__getattr__ = late_modules(__name__, "interpret")
