"""Sets of token vectors: brought to unit length, kept in half precision, and pooled.

Theory of operation
-------------------
A set of tokens is searched in two steps: many points are recalled by one *pooled* vector each, and
the few that are recalled are compared token by token. The pooled vector is the mean of the unit
tokens, at unit length; its inner product with another one is then the mean of the cosines of all
pairs of tokens, up to the two lengths.

Tokens are kept as IEEE binary16: two bytes a number, of which a unit vector's have eleven bits. A
number is off by 2⁻¹² of itself at most, so a cosine of two tokens by at most about 2.5e-4, and a
mean over 32 of them by 2e-5 (measured at 128 numbers: `tests/vectors/test_tokens.py` holds it to
that). They are widened again when they are read, by shifting bits: five times as fast as a cast,
which knows infinities that no unit vector has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.types import F16, F32, F64

_CANCELLED = 1e-6  # below this length a mean of unit vectors is rounding, and no direction
_SIGN_AND_NUMBER = np.int32(-0x70000001)  # 0x8fffffff
_EXPONENTS = np.float32(2.0**112)  # 127 − 15: what the two formats add to their exponents


class TokenSet(NamedTuple):
    """The tokens of one point as they are searched: `pooled` float32[d], `tokens` float16[m, d]."""

    pooled: F32
    tokens: F16


def token_set(tokens: F32) -> TokenSet:
    """Prepare float32[m, d], at least one token and none of them zero."""
    wide = _unit(tokens)
    return TokenSet(_pool(wide), wide.astype(np.float16))


def pooled(tokens: F32) -> F32:
    """Pool tokens float32[m, d], at least one and none of them zero: float32[d] of unit length.

    Zeros if they cancel each other out, as a vector and its opposite do.
    """
    return _pool(_unit(tokens))


def widened(halves: F16) -> F32:
    """Turn float16[…], all finite, C-ordered, into float32[…] of the same values."""
    # binary16 is seeeeemmmmmmmmmm: its sign is spread upwards, the rest moves to where binary32 has
    # the lower exponent bits and the mantissa, and the product puts the exponent right, also of
    # what is subnormal.
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_NUMBER
    numbers = bits.view(np.float32)
    numbers *= _EXPONENTS
    return numbers


def _unit(tokens: F32) -> F64:
    # In float64, so that large and small numbers neither overflow nor vanish.
    wide = tokens.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    return wide


def _pool(wide: F64) -> F32:
    mean = wide.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length < _CANCELLED:
        return np.zeros(mean.shape[0], dtype=np.float32)
    pool: F32 = (mean / length).astype(np.float32)
    return pool
