"""graphflow: define a graph with TensorFlow 1 names, run it as one native program.

    import graphflow as tf

Names, argument orders and defaults are TensorFlow 1's. This version has what dense and convolutional networks
need (README.md lists it); a TensorFlow name that is not there yet says so.
"""

from __future__ import annotations

import sys

from graphflow import (
    app,
    bitwise,
    compat,
    errors,
    flags,
    image,
    initializers,
    linalg,
    logging,
    math,
    nest,
    nn,
    random,
    train,
)
from graphflow.arrays import (
    boolean_mask,
    broadcast_static_shape,
    broadcast_to,
    concat,
    concat_v2,
    cumprod,
    cumsum,
    diag,
    expand_dims,
    eye,
    fill,
    gather,
    gather_nd,
    lin_space,
    linspace,
    matrix_transpose,
    meshgrid,
    one_hot,
    ones,
    ones_like,
    pack,
    pad,
    rank,
    reshape,
    reverse,
    reverse_v2,
    scatter_nd,
    sequence_mask,
    shape,
    shape_n,
    size,
    split,
    squeeze,
    stack,
    strided_slice,
    tile,
    transpose,
    unpack,
    unsorted_segment_sum,
    unstack,
    zeros,
    zeros_like,
)
from graphflow.arrays import range_ as range
from graphflow.arrays import slice_ as slice
from graphflow.basics import (
    add_to_collection,
    add_to_collections,
    colocate_with,
    constant,
    control_dependencies,
    convert_to_tensor,
    device,
    disable_eager_execution,
    disable_v2_behavior,
    executing_eagerly,
    get_collection,
    get_collection_ref,
    get_seed,
    group,
    identity,
    init_scope,
    is_tensor,
    name_scope,
    no_op,
    op_scope,
    placeholder,
    placeholder_with_default,
    set_random_seed,
    stop_gradient,
)
from graphflow.basics import tuple_ as tuple
from graphflow.clipping import clip_by_average_norm, clip_by_global_norm, clip_by_norm, global_norm
from graphflow.compare import Comparison, compare
from graphflow.compiler.ir.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from graphflow.compiler.ir.dtypes import bool_ as bool
from graphflow.compiler.ir.graph import Graph, Operation, get_default_graph, reset_default_graph
from graphflow.compiler.ir.shape import Dimension, TensorShape
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import catalog as _catalog  # noqa: F401  (fills the registry of ops first)
from graphflow.config import ConfigProto, GPUOptions, GraphOptions, OptimizerOptions, RunMetadata, RunOptions
from graphflow.control_flow import case, cond, while_loop
from graphflow.diagonals import matrix_diag, matrix_diag_part, matrix_set_diag, trace
from graphflow.diagonals import tensor_diag_part as diag_part
from graphflow.differentiation import gradients
from graphflow.einsum import einsum
from graphflow.embedding import IndexedSlices
from graphflow.explain import Explanation, explain
from graphflow.functional import foldl, foldr, map_fn, scan
from graphflow.image import (
    batch_to_space,
    batch_to_space_nd,
    depth_to_space,
    extract_image_patches,
    space_to_batch,
    space_to_batch_nd,
    space_to_depth,
)
from graphflow.initializers import (
    constant_initializer,
    glorot_normal_initializer,
    glorot_uniform_initializer,
    ones_initializer,
    random_normal_initializer,
    random_uniform_initializer,
    truncated_normal_initializer,
    uniform_unit_scaling_initializer,
    variance_scaling_initializer,
    zeros_initializer,
)
from graphflow.keys import GraphKeys
from graphflow.linalg import cross, norm
from graphflow.math import (
    abs,
    accumulate_n,
    acos,
    acosh,
    add,
    add_n,
    arg_max,
    arg_min,
    argmax,
    argmin,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    batch_matmul,
    cast,
    ceil,
    clip_by_value,
    complex_abs,
    cos,
    cosh,
    count_nonzero,
    digamma,
    div,
    div_no_nan,
    divide,
    equal,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    floor_div,
    floordiv,
    floormod,
    greater,
    greater_equal,
    inv,
    is_finite,
    is_inf,
    is_nan,
    less,
    less_equal,
    lgamma,
    log,
    log1p,
    log_sigmoid,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    matmul,
    maximum,
    minimum,
    mod,
    mul,
    multiply,
    neg,
    negative,
    not_equal,
    polygamma,
    pow,
    realdiv,
    reciprocal,
    reduce_all,
    reduce_any,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    rint,
    round,
    rsqrt,
    saturate_cast,
    scalar_mul,
    sigmoid,
    sign,
    sin,
    sinh,
    sparse_matmul,
    sqrt,
    square,
    squared_difference,
    sub,
    subtract,
    tan,
    tanh,
    tensordot,
    to_bfloat16,
    to_double,
    to_float,
    to_int32,
    to_int64,
    truediv,
    where,
)
from graphflow.missing import missing_names
from graphflow.ordering import (
    argsort,
    confusion_matrix,
    histogram_fixed_width,
    invert_permutation,
    matrix_band_part,
    random_crop,
    random_shuffle,
    reverse_sequence,
    sort,
    unique,
    unique_with_counts,
)
from graphflow.random import multinomial, random_normal, random_uniform, truncated_normal
from graphflow.scopes import (
    AUTO_REUSE,
    VariableScope,
    get_local_variable,
    get_variable,
    get_variable_scope,
    no_regularizer,
    variable_op_scope,
    variable_scope,
)
from graphflow.session import InteractiveSession, Session, get_default_session
from graphflow.tensor_array import TensorArray
from graphflow.variables import (
    Variable,
    assign,
    assign_add,
    assign_sub,
    global_variables,
    global_variables_initializer,
    local_variables,
    local_variables_initializer,
    model_variables,
    moving_average_variables,
    trainable_variables,
    variables_initializer,
)

__version__ = "1.15.0"  # the TensorFlow whose names these are; importlib.metadata has graphflow's own

# Names before TF 1.0, and second names
ceiling = ceil
double = float64
half = float16
initialize_all_variables = global_variables_initializer
initialize_local_variables = local_variables_initializer
initialize_variables = variables_initializer
all_variables = global_variables

newaxis = None


__all__ = [
    "AUTO_REUSE", "ConfigProto", "DType", "Dimension", "GPUOptions", "Graph", "GraphKeys", "GraphOptions",
    "IndexedSlices", "argsort", "bitwise", "confusion_matrix", "histogram_fixed_width", "invert_permutation",
    "cross", "diag_part", "einsum", "linalg", "matrix_diag", "matrix_diag_part", "matrix_set_diag", "norm",
    "trace", "unique", "unique_with_counts",
    "matrix_band_part", "random_crop", "random_shuffle", "reverse_sequence", "sort",
    "InteractiveSession", "Operation", "OptimizerOptions", "RunMetadata", "RunOptions", "Session",
    "Tensor", "TensorShape", "Variable", "VariableScope", "__version__", "abs", "accumulate_n", "acos",
    "acosh", "add", "add_n", "add_to_collection", "add_to_collections", "all_variables", "app", "arg_max",
    "arg_min", "argmax", "argmin", "as_dtype", "asin", "asinh", "assign", "assign_add", "assign_sub",
    "atan", "atan2", "atanh", "batch_matmul", "bfloat16", "bool", "boolean_mask",
    "TensorArray", "case", "cond", "foldl", "foldr", "map_fn", "nest", "scan", "while_loop",
    "broadcast_static_shape", "broadcast_to", "cast", "ceil", "ceiling", "clip_by_average_norm",
    "clip_by_global_norm", "clip_by_norm", "clip_by_value", "colocate_with", "compat", "complex_abs",
    "Comparison", "Explanation", "explain",
    "compare", "concat", "concat_v2", "constant", "constant_initializer", "control_dependencies",
    "convert_to_tensor", "cos", "cosh", "count_nonzero", "cumprod", "cumsum", "device", "diag", "digamma",
    "disable_eager_execution",
    "disable_v2_behavior", "div", "div_no_nan", "divide", "double", "equal", "erf", "erfc", "errors",
    "executing_eagerly", "exp", "expand_dims", "expm1", "eye", "fill", "flags", "float16", "float32",
    "float64", "floor", "floor_div", "floordiv", "floormod", "gather", "gather_nd", "get_collection",
    "get_collection_ref", "get_default_graph", "get_default_session", "get_local_variable", "get_seed",
    "get_variable", "get_variable_scope", "global_norm", "global_variables",
    "global_variables_initializer", "glorot_normal_initializer", "glorot_uniform_initializer",
    "gradients", "greater", "greater_equal", "group", "half", "identity", "init_scope",
    "initialize_all_variables", "initialize_local_variables", "initialize_variables", "initializers",
    "int16", "int32", "int64", "int8", "inv", "is_finite", "is_inf", "is_nan", "is_tensor", "less",
    "less_equal", "lgamma", "lin_space", "linspace", "local_variables", "local_variables_initializer", "log",
    "log1p", "log_sigmoid", "logging", "logical_and", "logical_not", "logical_or", "logical_xor", "math",
    "matmul", "matrix_transpose", "maximum", "meshgrid", "minimum", "mod", "model_variables",
    "moving_average_variables", "mul", "multinomial", "multiply", "name_scope", "neg", "negative",
    "newaxis", "nn", "no_op", "no_regularizer", "not_equal", "one_hot", "ones", "ones_initializer",
    "ones_like", "op_scope", "pack", "pad", "placeholder", "placeholder_with_default", "polygamma", "pow",
    "random", "random_normal", "random_normal_initializer", "random_uniform", "random_uniform_initializer",
    "range", "rank", "realdiv", "reciprocal", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_sum", "reset_default_graph", "reshape", "reverse",
    "reverse_v2", "rint", "round", "rsqrt", "saturate_cast", "scalar_mul", "scatter_nd", "sequence_mask",
    "set_random_seed", "shape", "shape_n", "sigmoid", "sign", "sin", "sinh", "size", "slice",
    "sparse_matmul", "split", "sqrt", "square", "squared_difference", "squeeze", "stack", "stop_gradient",
    "strided_slice", "sub", "subtract", "tan", "tanh", "tensordot", "tile", "to_bfloat16", "to_double",
    "to_float", "to_int32", "to_int64", "train", "trainable_variables", "transpose", "truediv",
    "truncated_normal", "truncated_normal_initializer", "tuple", "uint16", "uint32", "uint64", "uint8",
    "uniform_unit_scaling_initializer", "unpack", "unsorted_segment_sum", "unstack", "variable_op_scope",
    "variable_scope", "variables_initializer", "variance_scaling_initializer", "where", "zeros",
    "zeros_initializer", "zeros_like",
    "batch_to_space", "batch_to_space_nd", "depth_to_space", "extract_image_patches", "image",
    "space_to_batch", "space_to_batch_nd", "space_to_depth",
]


__getattr__ = missing_names("graphflow")
compat.v1 = sys.modules[__name__]
