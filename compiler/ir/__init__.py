"""The intermediate representation: dims, types, graphs and the form of an op record."""
