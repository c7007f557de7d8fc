"""What happens to an input before its graph and to a graph's numbers after it.

views → graph → context → pool → maps → normalise, each a pure function of arrays. A manifest says
which are used: `[views]` and `[output]` (docs/encoders.md).
"""
