"""One function that tells the addresses of others: linkers need to know a single name of a module."""

from __future__ import annotations

from collections.abc import Sequence

TABLE = "function_address"


def address_table(names: Sequence[str]) -> str:
    """`ptr @function_address(i64 k)`: the address of the function with the k-th name."""
    cases = [f"i64 {k}, label %f{k}" for k in range(len(names))]
    blocks = [f"f{k}: ret ptr @{name}" for k, name in enumerate(names)]
    return "\n".join(["", f"define ptr @{TABLE}(i64 %k) {{",
                      f"switch i64 %k, label %none [{' '.join(cases)}]", "none: ret ptr null",
                      *blocks, "}", ""])
