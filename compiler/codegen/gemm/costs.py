"""What arithmetic and moving data cost: what the choice of a product's form knows of machines.

Units:   times in multiply-adds of one element at full rate; extents in elements, or as a comment says
Source:  found with float32 on CPUs with vectors of 512 bits; where packing pays was measured again on a Zen 4
         with 1 MiB of L2, one form against the other; other CPUs use the same figures
"""

from __future__ import annotations

# Times

PACK = 8                 # to copy an element of B into a panel
READ = 4                 # to read one that each part reads
LEAST_SHARED = 1 << 18   # of a product: a smaller one is not cut for threads
NEAR = 1.02              # a ratio: times that differ by less are the same
KIND = 0.03              # a share: what each further kind of tile, which is to be compiled, adds to the time
CHAINS = 8               # additions to as many vectors hide the latency of each


def tile_time(rows: int, vecs: int) -> float:
    """Of a register tile per element of k, in multiply-adds of a vector.

    It is bound by its multiply-adds, its loads or their latency; loads take a quarter of one besides.
    """
    return max(rows * vecs, rows + vecs, CHAINS) + 0.25 * (rows + vecs) + 1


# What each multiply-add loses where B is not packed: `packing_pays` weighs it against PACK

IN_PLACE = {1: 1 / 3, 2: 4 / 3, 4: 8.0}  # read by rows; by elements in a group, which are widened on the way
WINDOWS = 1 / 8          # read by rows by a product with windows, and the next panel fetched meanwhile
FETCHED = 1 / 32         # read by rows, and the next panel fetched meanwhile
NARROW = 1.0             # read by rows of fewer bytes than those of panels made ahead
DOTS = 1 / 2             # transposed, few dot products at once
LONG_DOTS = 1 / 8        # transposed, as many as registers hold, and the next rows fetched meanwhile


def packing_pays(rows: int | None, loss: float) -> bool:
    """Whether a product of so many rows, each of which reads all of B, is faster if B is packed first."""
    return rows is None or rows * loss > PACK


def rows_unpacked(loss: float) -> int:
    """The most rows for which packing does not pay."""
    return int(PACK / loss)


# Blocks

DEPTH = {4: 384, 8: 256}  # of k, by bytes of a sum: long enough to hide the adding to C
DEEP = {4: 1024, 8: 512}  # the same where B is in panels from the start: fewer passes over C, A in place
GROUPED_DEPTH = 512       # groups of k: against so little work, adding to C costs more
VIEW_DEPTH = 4800         # bytes along windows, which overlap in the L1; B then comes from the L2
DOT_DEPTH = 4096          # of k: a float sum's rounding grows with the run of additions to one lane
STREAMED_DEPTH = 8        # of k, of a B that comes from memory: the fewer, the longer the runs that are read
BLOCK_COLUMNS = 1024
A_SHARE, B_SHARE = 4, 2   # a block of A may take a fourth of the L2, one of B half of it
UNKNOWN = 1024            # what an extent is taken for that only the run tells
CLOSE = 256               # bytes of a row of B that are read as fast where they lie: about a panel
LONG_ROW = 2048           # bytes of a row of the result, from which on rows are written one after another
SHORT = 512               # n or k, up to which packing A does not pay where m is unknown

# Registers

LEAST_BYTES = 16          # of a vector: so many every CPU has
WIDEST = 24               # vectors of a tile with one row: the longer the runs of B, the faster it is read
STREAMED_VECTORS = 4      # the same where B comes from memory, whose latency is what counts
LEAST_DOT = 8             # of k, from which on one row by columns is summed along k
DOT_COLUMNS = 7           # of a product with windows, up to which its sums are along k
LEAST_LONG_DOT = 512      # of k, from which on many dot products at once pay

# Chunks of k

FEW_SUMS = 1 << 14        # elements of a product that may be kept once per chunk
LEAST_CHUNK, MOST_CHUNKS = 1024, 16  # a chunk's sums are written, and added, in much less time than computed
LONG = 4                  # k by the other sizes, from which on it is cut
