"""The frame: the int64 array through which a program and its caller talk.

Slots: three for an error (1 + the check that failed, the index, the extent), the addresses of two library routines,
the work of the run (above a limit the interpreter lock is released), then run-time integers, then buffer addresses.
"""

ERROR_CHECK, ERROR_INDEX, ERROR_EXTENT, GEMM_F32, GEMM_F64, RELEASE_LOCK = range(6)
FIRST_SYMBOL = 6
