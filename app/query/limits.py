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

MOST_BANK = 2_000
"""Queries of one bank."""

MOST_DEV = 1_000
"""Labelled queries by which a bank is tried, or a calibration fitted."""

MOST_FOUND = 200_000
"""Candidates of all labelled queries together: some seconds."""

LEAST_DEV = 20
"""The fewest by which a bank is tried: less than that is no measurement."""

MOST_BANK_PRODUCTS = 500_000_000
"""Products of numbers that correct one list of candidates: about a tenth of a second."""

MOST_TRIAL_PRODUCTS = 20_000_000_000
"""The same for a bank that is tried: some seconds."""

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

MOST_LABEL_FIELDS = 8
"""Attributes whose values are labels in one evaluation."""

MOST_EVALUATED = 2_000_000
"""Results that one evaluation looks at: queries × configurations × depth."""

MOST_RESAMPLES = 10_000
"""Draws of a bootstrap."""

MOST_INPUTS = 256
"""Things that one request has judged, and pairs that it has verified."""

MOST_HEADS = 8
"""Heads of one classifier."""

MOST_LABELS = 1000
"""Labels whose every value is looked at: class means, label texts; and labels that are answered."""

MOST_SAID = 2**22
"""What heads say of things: heads × things × labels. Each takes some eighty bytes meanwhile."""

MOST_LABEL_TEXTS = 2048
"""Texts of all labels of a classifier together, each in every template."""

MOST_VOTERS = 16_384
"""Neighbours of all inputs of one head together."""

MOST_SEARCHES = 1024
"""Searches on behalf of neighbours, where these must be mutual."""

MOST_CACHED = 16_384
"""Points that a cache, an augmentation or a threshold looks at."""

MOST_GROUPS = 1000
"""Different values of an attribute whose means are taken out."""

MOST_LABEL_PAIRS = 4096
"""Compound labels of one classifier."""

LEAST_RATE = 1e-9
"""Share of false accepts that a threshold is chosen for, at least."""

MOST_LABELLED_PAIRS = 10_000
"""Pairs that one request gives with their answers."""

MOST_DRAWN_PAIRS = 50_000
"""Pairs of sampled points of one evaluation; each draw of a bootstrap weighs them all."""
