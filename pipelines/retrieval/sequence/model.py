"""The transformer: pre-norm blocks over plays, whose last state is compared with every video.

A decaying mean of the liked videos bypasses the blocks; training begins with it (`start`).

It is written once for JAX, which trains it, and for NumPy, which scores one user at a time, so that a user's
scores depend on no other user. Source: Kang and McAuley, Self-Attentive
Sequential Recommendation (ICDM 2018).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LENGTH = 64
SIZE, BLOCKS, HEADS = 64, 2, 2
# Liked plays by the logarithm of their number. A window full of them has no code of its own: only its last
# play could have it, so training would hardly reach it.
_COUNT_CODES = np.frexp(np.minimum(np.arange(LENGTH + 1, dtype=np.float64), LENGTH - 1))[1]
COUNTS = int(_COUNT_CODES.max()) + 1
_FUTURE, _TINY = np.float32(-1e9), np.float32(1e-6)

Params = Mapping[str, Any]


def video_vectors(params: Params, groups: Any, text: Any, chosen: Any = slice(None)) -> Any:
    """The sum of a video's own vector and those of its author, categories and text: [videos, SIZE].

    Args:
        groups, text: of all videos.
        chosen: which of them; by default all.
    """
    of_groups = params["group"][groups[chosen]].sum(axis=1)
    return params["video"][chosen] + of_groups + text[chosen] @ params["text"]


def encode(
    xp: Any,
    params: Params,
    played: Any,
    plays: Any,
    *,
    wait: Any,
    dropped: Callable[[Any], Any] = lambda x: x,
) -> Any:
    """The state after each play: float32 [users, length, SIZE].

    Args:
        xp: numpy or jax.numpy.
        played: [users, length, SIZE], the vectors of the videos.
        plays: outcome, gap and hour: int32 [3, users, length].
        wait: int32 [users, length], codes of the time from each play to the instant that is asked for.
        dropped: dropout.
    """
    outcome, gap, hour = plays
    length = outcome.shape[1]
    came_of_it = params["outcome"][outcome] + params["gap"][gap] + params["hour"][hour]
    states = dropped(played * np.float32(SIZE**0.5) + came_of_it)
    ago = np.arange(length)[:, None] - np.arange(length)[None, :]
    causal = np.where(ago < 0, _FUTURE, np.float32(0))
    # Added beside the blocks and not before them, or the last play would be lost in the sum of all earlier
    # ones.
    weights = params["taste_ago"][np.maximum(ago, 0)] + causal + params["taste_heed"][outcome][:, None, :]
    taste = _softmax(xp, weights) @ _normed(xp, played, np.float32(1))
    for block in range(BLOCKS):
        normed = _normed(xp, states, params["norm_attention"][block])
        query, key, value = (
            _by_head(part) for part in xp.split(normed @ params["attention_in"][block], 3, axis=-1)
        )
        # The age of a play, and its outcome, count for any video.
        weights = query @ key.swapaxes(-1, -2) * np.float32((SIZE // HEADS) ** -0.5)
        weights = weights + params["ago"][block][:, np.maximum(ago, 0)] + causal
        weights = weights + params["heed"][block][:, outcome].swapaxes(0, 1)[:, :, None, :]
        mixed = (_softmax(xp, weights) @ value).swapaxes(1, 2).reshape(states.shape)
        states = states + dropped(mixed @ params["attention_out"][block])
        wide = _normed(xp, states, params["norm_wide"][block]) @ params["wide_in"][block]
        # The sigmoid of a wide range, without overflow.
        gate = np.float32(0.5) * (np.float32(1) + xp.tanh(np.float32(0.5) * wide))
        states = states + dropped((wide * gate) @ params["wide_out"][block])
    next_play = _normed(xp, states, params["norm_last"])
    # A user's taste is weighted by the number of liked plays that it is known from.
    sure = params["taste_sure"][xp.asarray(_COUNT_CODES)[xp.cumsum(outcome % 2, axis=1)]]
    return sure[..., None] * _normed(xp, taste + params["wait"][wait], params["norm_taste"]) + next_play


def _softmax(xp: Any, weights: Any) -> Any:
    weights = xp.exp(weights - weights.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _by_head(part: Any) -> Any:
    users, length, _ = part.shape
    return part.reshape(users, length, HEADS, SIZE // HEADS).swapaxes(1, 2)


def _normed(xp: Any, states: Any, scale: Any) -> Any:
    return states * scale / xp.sqrt((states * states).mean(axis=-1, keepdims=True) + _TINY)
