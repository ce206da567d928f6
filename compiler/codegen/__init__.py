"""From loop nests to LLVM IR text."""
