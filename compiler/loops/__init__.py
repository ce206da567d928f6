"""Scalar expressions, loop nests, and the forms in which an op record says how it lowers."""
