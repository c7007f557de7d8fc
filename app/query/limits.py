"""Bounds of one query that no setting moves: they keep a plan something to be read."""

MOST_DEPTH = 8
"""Levels of expressions and of prefetch, each."""

MOST_LEAVES = 256
"""Texts, vectors, ids, … of one query together."""

MOST_SOURCES = 16
"""Recalls of one query together."""

MOST_STAGES = 8
"""Entries of a list of stages."""

MOST_PROBES = 16
"""Searches that one expression takes."""

CANDIDATES = 100
"""Candidates of a recall whose list is worked on, unless the query says more."""

MOST_DIVERSE = 1000
"""Candidates that are compared with each other."""

MOST_BOOSTS = 16
"""Functions of one boost."""

MOST_FACETS = 32
"""Facets of one request."""

MOST_VALUES = 1000
"""Values that one facet lists."""

MOST_BUCKETS = 1000
"""Buckets of one histogram."""

MOST_QUANTILES = 100
"""Quantiles of one facet."""
