"""Classify and verify by similarity to what is remembered: pure functions of arrays.

votes         the labels of the nearest neighbours
prototypes    class means: centred, kept up to date, made richer where examples are few
caches        label texts refined by a cache of points, labelled or not
decisions     from probabilities to a label, several, or none
composing     several heads, and labels that are made of two
verification  thresholds for a rate of false accepts, with intervals
"""
