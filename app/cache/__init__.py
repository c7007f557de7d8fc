"""Vectors that were made before, kept on the disk under what they were made of."""
