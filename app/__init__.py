"""Likewise: encoders, a durable store and filtered nearest-neighbour search in one service."""

import os

# Libraries read these once, before they are first used. Each of our threads computes for itself:
# pools of theirs would stand beside it without its priority, and wait for each other on a machine
# that is busy (docs/decisions/0020).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

__version__ = "0.1.0"
