"""Texts as words: what counts as one, what it is reduced to, how texts are asked for."""
