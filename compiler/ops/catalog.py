"""Every op: importing this module fills the REGISTRY."""

# ruff: noqa: F401

import graphflow.compiler.ops.activations
import graphflow.compiler.ops.bits
import graphflow.compiler.ops.blocks
import graphflow.compiler.ops.broadcasting
import graphflow.compiler.ops.control
import graphflow.compiler.ops.convolution
import graphflow.compiler.ops.convolution_products
import graphflow.compiler.ops.core
import graphflow.compiler.ops.elementwise
import graphflow.compiler.ops.equations
import graphflow.compiler.ops.gamma
import graphflow.compiler.ops.gathering
import graphflow.compiler.ops.images
import graphflow.compiler.ops.indexing
import graphflow.compiler.ops.joining
import graphflow.compiler.ops.linalg
import graphflow.compiler.ops.logic
import graphflow.compiler.ops.mathematics
import graphflow.compiler.ops.nn
import graphflow.compiler.ops.normalization
import graphflow.compiler.ops.phases
import graphflow.compiler.ops.pooling
import graphflow.compiler.ops.random
import graphflow.compiler.ops.reductions
import graphflow.compiler.ops.resampling
import graphflow.compiler.ops.rows
import graphflow.compiler.ops.sampling
import graphflow.compiler.ops.scans
import graphflow.compiler.ops.sequences
import graphflow.compiler.ops.shapes
import graphflow.compiler.ops.sorting
import graphflow.compiler.ops.tables
import graphflow.compiler.ops.window_products
import graphflow.compiler.ops.windows
import graphflow.compiler.ops.winograd
import graphflow.compiler.ops.winograd_gradient
