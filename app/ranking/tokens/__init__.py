"""Similarity of sets of token vectors: texts by words, images by patches, sounds by frames.

Everything starts from `S = query · candidateᵀ`, `[m, n]`. An **aggregator** (`aggregation`) makes
one score of it: which tokens, and how softly. A **matcher** (`matching`) says which token belongs
to which, and what that is worth; `verify` doubts it. `reading` reads both from JSON, `cost` counts
the work before it is done. Rows are of unit length, so products are cosines.
"""
