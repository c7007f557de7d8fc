"""Likewise: encoders, a durable store and filtered nearest-neighbour search in one service."""

__version__ = "0.1.0"
