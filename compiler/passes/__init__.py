"""One file per pass. A pass is a pure function; its docstring shows an example as `before --> after`."""
