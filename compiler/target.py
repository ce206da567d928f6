"""Target: what the compiler knows of the machine that it compiles for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """vector_bits: width of a vector register; l1, l2, l3: bytes of cache; threads: cores to share work.

    dots_bf16, dots_int8: whether vectors of pairs of bfloat16, or of four 8-bit integers, are multiplied and
    added to sums of 32 bits by one instruction
    """

    vector_bits: int
    l1: int = 32 << 10
    l2: int = 1 << 20
    l3: int = 16 << 20
    threads: int = 1
    dots_bf16: bool = False
    dots_int8: bool = False


ANY = Target(128)
