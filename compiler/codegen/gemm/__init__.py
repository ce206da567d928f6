"""Matrix products as LLVM IR: register tiles, packing, blocking."""
