"""Similarity as a toolkit: pure functions of arrays that score, fuse, match, compose and thin out.

Nothing here knows a collection, a request or a disk: candidates come in as arrays, scores go out.
"""
