"""Session options. They have TF1's fields; what means nothing to a compiled program is ignored."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

from graphflow.compiler.records import options


@options
class GPUOptions:
    """Memory options of a GPU."""

    per_process_gpu_memory_fraction: float = 0.0
    allow_growth: bool = False
    allocator_type: str = ""
    deferred_deletion_bytes: int = 0
    visible_device_list: str = ""
    polling_active_delay_usecs: int = 0
    polling_inactive_delay_msecs: int = 0
    force_gpu_compatible: bool = False
    experimental: Any = None


@options
class OptimizerOptions:
    """Graph rewriting levels. graphflow always optimizes."""

    L1: ClassVar[int] = 0
    L0: ClassVar[int] = -1
    DEFAULT: ClassVar[int] = 0
    OFF: ClassVar[int] = -1
    ON_1: ClassVar[int] = 1
    ON_2: ClassVar[int] = 2

    do_common_subexpression_elimination: bool = False
    do_constant_folding: bool = False
    do_function_inlining: bool = False
    opt_level: int = 0
    global_jit_level: int = 0


@options
class GraphOptions:
    """Options of graph rewriting and of cost models."""

    enable_recv_scheduling: bool = False
    optimizer_options: OptimizerOptions = field(default_factory=OptimizerOptions)
    build_cost_model: int = 0
    infer_shapes: bool = False
    place_pruned_graph: bool = False
    timeline_step: int = 0
    rewrite_options: Any = None


@options
class ConfigProto:
    """Options of a Session. Most are kept for scripts that set them.

    intra_op_parallelism_threads  how many threads a run may use, matrix products included; 0 for one per core
    """

    device_count: dict[str, int] = field(default_factory=dict)
    intra_op_parallelism_threads: int = 0
    inter_op_parallelism_threads: int = 0
    use_per_session_threads: bool = False
    placement_period: int = 0
    device_filters: list[str] = field(default_factory=list)
    gpu_options: GPUOptions = field(default_factory=GPUOptions)
    allow_soft_placement: bool = False
    log_device_placement: bool = False
    graph_options: GraphOptions = field(default_factory=GraphOptions)
    operation_timeout_in_ms: int = 0
    isolate_session_state: bool = False
    share_cluster_devices_in_session: bool = False
    experimental: Any = None


@options
class RunOptions:
    """Options of one `Session.run`."""

    NO_TRACE: ClassVar[int] = 0
    SOFTWARE_TRACE: ClassVar[int] = 1
    HARDWARE_TRACE: ClassVar[int] = 2
    FULL_TRACE: ClassVar[int] = 3

    trace_level: int = 0
    timeout_in_ms: int = 0
    inter_op_thread_pool: int = 0
    output_partition_graphs: bool = False
    debug_options: Any = None
    report_tensor_allocations_upon_oom: bool = False


@options
class RunMetadata:
    """What a run reports about itself."""

    step_stats: Any = None
    cost_graph: Any = None
    partition_graphs: list[Any] = field(default_factory=list)
