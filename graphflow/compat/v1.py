"""`import graphflow.compat.v1 as tf` gives the package itself."""

import sys

import graphflow

sys.modules[__name__] = graphflow
