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

MOST_CONCEPTS = 256
"""Concepts of one dictionary."""

MOST_EXAMPLES = 1024
"""Points whose vectors are drawn to learn classes or differences from, of one aspect."""

MOST_SAMPLED = 2**21
"""Numbers of the vectors that are drawn at once, to learn anything from."""

MOST_AVERAGED = 2**18
"""Points of a collection up to which means are exact; of larger ones so many are drawn:"""

DRAWN = 2**14
"""Points of a mean that is not exact: it is off by less than .01 for vectors of length one."""

DRAWN_OF_A_VALUE = 2**10
"""Likewise, of each value of a dictionary."""

MOST_WEIGHT = 1e6
"""Weight of a term in a sum, either way."""

RULED = 200
"""Candidates of each probe where a rule scores them, unless the query says more."""

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

MOST_JUDGED = 1000
"""Queries of one evaluation."""

MOST_RELEVANT = 100_000
"""Judgements of one evaluation together."""

MOST_CONFIGURATIONS = 8
"""Ways to ask that one evaluation compares."""

MOST_MEASURES = 32
"""Measures of one evaluation."""

MOST_LABELS = 8
"""Attributes whose values are labels in one evaluation."""

MOST_EVALUATED = 2_000_000
"""Results that one evaluation looks at: queries × configurations × depth."""

MOST_RESAMPLES = 10_000
"""Draws of a bootstrap."""
