"""Names of TensorFlow 1 that graphflow lacks, by module: what a script may ask for with reason."""

LACKING: dict[str, str] = {
    "graphflow": """
        AggregationMethod Assert AttrValue COMPILER_VERSION CXX11_ABI_FLAG CXX_VERSION
        ConditionalAccumulator ConditionalAccumulatorBase CriticalSection DeviceSpec Event FIFOQueue
        FixedLenFeature FixedLenSequenceFeature FixedLengthRecordReader GIT_VERSION GRAPH_DEF_VERSION
        GRAPH_DEF_VERSION_MIN_CONSUMER GRAPH_DEF_VERSION_MIN_PRODUCER GradientTape GraphDef HistogramProto
        IdentityReader IndexedSlicesSpec LMDBReader LogMessage MONOLITHIC_BUILD MetaGraphDef Module
        NameAttrList NoGradient NodeDef NotDifferentiable OpError OptionalSpec PaddingFIFOQueue Print
        PriorityQueue QUANTIZED_DTYPES QueueBase RaggedTensor RaggedTensorSpec RandomShuffleQueue ReaderBase
        RegisterGradient SessionLog SparseConditionalAccumulator SparseFeature SparseTensor SparseTensorSpec
        SparseTensorValue Summary SummaryMetadata TFRecordReader TensorArraySpec TensorInfo TensorSpec
        TextLineReader TypeSpec UnconnectedGradients VERSION VarLenFeature VariableAggregation
        VariableSynchronization WholeFileReader add_check_numerics_ops angle as_string assert_equal
        assert_greater assert_greater_equal assert_integer assert_less assert_less_equal assert_near
        assert_negative assert_non_negative assert_non_positive assert_none_equal assert_positive
        assert_proper_iterable assert_rank assert_rank_at_least assert_rank_in assert_same_float_dtype
        assert_scalar assert_type assert_variables_initialized audio autograph batch_gather
        batch_scatter_update betainc bincount bitcast broadcast_dynamic_shape check_numerics check_pinned
        cholesky cholesky_solve complex complex128 complex64 conj container contrib control_flow_v2_enabled
        conv conv2d_backprop_filter_v2 conv2d_backprop_input_v2 convert_to_tensor_or_indexed_slices
        convert_to_tensor_or_sparse_tensor count_up_to create_partitioned_variables custom_gradient data
        debugging decode_base64 decode_compressed decode_csv decode_json_example decode_raw
        delete_session_tensor dequantize deserialize_many_sparse dimension_at_index dimension_value
        disable_control_flow_v2 disable_resource_variables disable_tensor_equality disable_v2_tensorshape
        distribute distributions dtypes dynamic_partition dynamic_stitch edit_distance
        enable_control_flow_v2 enable_eager_execution enable_resource_variables enable_tensor_equality
        enable_v2_behavior enable_v2_tensorshape encode_base64 ensure_shape estimator
        executing_eagerly_outside_functions extract_volume_patches fake_quant_with_min_max_args
        fake_quant_with_min_max_args_gradient fake_quant_with_min_max_vars
        fake_quant_with_min_max_vars_gradient fake_quant_with_min_max_vars_per_channel
        fake_quant_with_min_max_vars_per_channel_gradient feature_column fft fft2d fft3d fingerprint
        fixed_size_partitioner function get_logger get_session_handle get_session_tensor get_static_value
        gfile grad_pass_through graph_util guarantee_const hessians histogram_fixed_width_bins identity_n
        ifft ifft2d ifft3d igamma igammac imag import_graph_def initialize_all_tables io is_non_decreasing
        is_numeric_tensor is_strictly_increasing is_symbolic_tensor is_variable_initialized keras layers
        lbeta lite load_file_system_library load_library load_op_library lookup losses make_ndarray
        make_template make_tensor_proto manip matching_files matrix_determinant matrix_inverse matrix_solve
        matrix_solve_ls matrix_square_root matrix_triangular_solve metrics min_max_variable_partitioner
        no_gradient numpy_function orthogonal_initializer parallel_stack parse_example parse_single_example
        parse_single_sequence_example parse_tensor print profiler py_func py_function python_io qint16
        qint32 qint8 qr quantization quantize quantize_v2 quantized_concat queue quint16 quint8 ragged
        random_gamma random_poisson raw_ops read_file real recompute_grad reduce_join regex_replace
        register_tensor_conversion_function repeat report_uninitialized_variables
        required_space_to_batch_paddings resource resource_loader resource_variables_enabled roll
        saved_model scatter_add scatter_div scatter_max scatter_min scatter_mul scatter_nd_add
        scatter_nd_sub scatter_nd_update scatter_sub scatter_update searchsorted segment_max segment_mean
        segment_min segment_prod segment_sum self_adjoint_eig self_adjoint_eigvals serialize_many_sparse
        serialize_sparse serialize_tensor setdiff1d sets signal sparse sparse_add sparse_concat
        sparse_fill_empty_rows sparse_mask sparse_maximum sparse_merge sparse_minimum sparse_placeholder
        sparse_reduce_max sparse_reduce_max_sparse sparse_reduce_sum sparse_reduce_sum_sparse sparse_reorder
        sparse_reset_shape sparse_reshape sparse_retain sparse_segment_mean sparse_segment_sqrt_n
        sparse_segment_sum sparse_slice sparse_softmax sparse_split sparse_tensor_dense_matmul
        sparse_tensor_to_dense sparse_to_dense sparse_to_indicator sparse_transpose spectral string
        string_join string_split string_strip string_to_hash_bucket string_to_hash_bucket_fast
        string_to_hash_bucket_strong string_to_number strings substr summary svd switch_case sysconfig
        tables_initializer tensor_scatter_add tensor_scatter_nd_add tensor_scatter_nd_sub
        tensor_scatter_nd_update tensor_scatter_sub tensor_scatter_update test timestamp to_complex128
        to_complex64 tpu truncatediv truncatemod type_spec_from_value unravel_index unsorted_segment_max
        unsorted_segment_mean unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n user_ops
        variable_axis_size_partitioner variable_creator_scope variant vectorized_map
        verify_tensor_all_finite version where_v2 wrap_function write_file xla zeta""",
    "graphflow.image": """
        adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_jpeg_quality adjust_saturation
        central_crop combined_non_max_suppression convert_image_dtype crop_and_resize crop_to_bounding_box
        decode_and_crop_jpeg decode_bmp decode_gif decode_image decode_jpeg decode_png draw_bounding_boxes
        encode_jpeg encode_png extract_glimpse extract_jpeg_shape flip_left_right flip_up_down
        grayscale_to_rgb hsv_to_rgb image_gradients is_jpeg non_max_suppression non_max_suppression_overlaps
        non_max_suppression_padded non_max_suppression_with_scores pad_to_bounding_box
        per_image_standardization psnr random_brightness random_contrast random_crop random_flip_left_right
        random_flip_up_down random_hue random_jpeg_quality random_saturation rgb_to_grayscale rgb_to_hsv
        rgb_to_yiq rgb_to_yuv rot90 sample_distorted_bounding_box sobel_edges ssim ssim_multiscale
        total_variation transpose_image yiq_to_rgb yuv_to_rgb""",
    "graphflow.initializers": """
        global_variables local_variables orthogonal tables_initializer variables""",
    "graphflow.linalg": """
        LinearOperator LinearOperatorAdjoint LinearOperatorBlockDiag LinearOperatorBlockLowerTriangular
        LinearOperatorCirculant LinearOperatorCirculant2D LinearOperatorCirculant3D
        LinearOperatorComposition LinearOperatorDiag LinearOperatorFullMatrix LinearOperatorHouseholder
        LinearOperatorIdentity LinearOperatorInversion LinearOperatorKronecker LinearOperatorLowRankUpdate
        LinearOperatorLowerTriangular LinearOperatorPermutation LinearOperatorScaledIdentity
        LinearOperatorToeplitz LinearOperatorTridiag LinearOperatorZeros adjoint cholesky cholesky_solve det
        eigh eigh_tridiagonal eigvalsh expm global_norm inv l2_normalize logdet logm lstsq lu
        lu_matrix_inverse lu_reconstruct lu_solve matrix_rank matvec normalize pinv qr slogdet solve sqrtm
        svd tensor_diag triangular_solve tridiagonal_matmul tridiagonal_solve""",
    "graphflow.math": """
        angle bessel_i0 bessel_i0e bessel_i1 bessel_i1e betainc bincount confusion_matrix conj cumprod
        cumsum cumulative_logsumexp erfcinv igamma igammac imag in_top_k invert_permutation
        is_non_decreasing is_strictly_increasing l2_normalize lbeta log_softmax multiply_no_nan nextafter
        polyval real reciprocal_no_nan reduce_euclidean_norm segment_max segment_mean segment_min
        segment_prod segment_sum sobol_sample softmax softsign special top_k unsorted_segment_max
        unsorted_segment_mean unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n
        unsorted_segment_sum xdivy xlog1py zero_fraction zeta""",
    "graphflow.nn": """
        bidirectional_dynamic_rnn collapse_repeated compute_average_loss conv_transpose
        ctc_beam_search_decoder ctc_beam_search_decoder_v2 ctc_greedy_decoder ctc_loss ctc_loss_v2
        ctc_unique_labels dilation2d dynamic_rnn embedding_lookup_sparse erosion2d fractional_avg_pool
        fractional_max_pool learned_unigram_candidate_sampler log_poisson_loss quantized_avg_pool
        quantized_conv2d quantized_max_pool quantized_relu_x raw_rnn rnn_cell safe_embedding_lookup_sparse
        scale_regularization_loss static_bidirectional_rnn static_rnn static_state_saving_rnn
        with_space_to_batch""",
    "graphflow.random": """
        all_candidate_sampler experimental fixed_unigram_candidate_sampler gamma
        learned_unigram_candidate_sampler log_uniform_candidate_sampler poisson shuffle stateless_categorical
        stateless_multinomial stateless_normal stateless_truncated_normal stateless_uniform
        uniform_candidate_sampler""",
    "graphflow.train": """
        AdagradDAOptimizer BytesList Checkpoint CheckpointManager CheckpointSaverHook
        CheckpointSaverListener ChiefSessionCreator ClusterDef ClusterSpec Coordinator Example Feature
        FeatureList FeatureLists Features FeedFnHook FinalOpsHook FloatList GlobalStepWaiterHook Int64List
        JobDef LoggingTensorHook LooperThread MonitoredSession MonitoredTrainingSession
        NanLossDuringTrainingError NanTensorHook NewCheckpointReader ProfilerHook ProximalAdagradOptimizer
        ProximalGradientDescentOptimizer QueueRunner Saver SaverDef Scaffold SecondOrStepTimer
        SequenceExample Server ServerDef SessionCreator SessionManager SessionRunArgs SessionRunContext
        SessionRunHook SessionRunValues SingularMonitoredSession StepCounterHook StopAtStepHook
        SummarySaverHook Supervisor SyncReplicasOptimizer VocabInfo WorkerSessionCreator add_queue_runner
        assert_global_step basic_train_loop batch batch_join checkpoint_exists checkpoints_iterator
        cosine_decay_restarts do_quantize_training_on_graphdef export_meta_graph
        generate_checkpoint_state_proto get_checkpoint_mtimes get_checkpoint_state import_meta_graph
        init_from_checkpoint input_producer latest_checkpoint limit_epochs linear_cosine_decay
        list_variables load_checkpoint load_variable match_filenames_once maybe_batch maybe_batch_join
        maybe_shuffle_batch maybe_shuffle_batch_join noisy_linear_cosine_decay queue_runner
        range_input_producer remove_checkpoint replica_device_setter sdca_fprint sdca_optimizer
        sdca_shrink_l1 shuffle_batch shuffle_batch_join slice_input_producer start_queue_runners
        string_input_producer summary_iterator update_checkpoint_state warm_start write_graph""",
}
