"""The query algebra on arrays: vectors composed, concepts, subspaces, and rules that score."""
