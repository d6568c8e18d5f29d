"""How long people watch: a mixture whose expectation is known, nearly independent of the video's length.

A play is one of four: skipped soon, watched, watched on and on (looping), or left running. How much the
user cares for the video moves the shares and the times. Times are log-normal, those left running Pareto.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Regime:
    """How attentively a log was watched. Times in seconds; sigma of their natural logarithms."""

    skip_logit: float
    skip_s: float
    skip_sigma: float
    watch_s: float
    watch_sigma: float
    loop_logit: float
    loop_factor: float
    loop_sigma: float
    left_share: float
    play_s_max: float


ATTENTIVE = Regime(-2.2, 1.9, 0.8, 7.6, 0.30, -3.4, 2.2, 0.45, 3e-4, 7_988.155)
CASUAL = Regime(-1.2, 1.6, 0.9, 7.9, 0.38, -3.0, 2.3, 0.50, 4e-4, 999.639)

SKIP_SLOPE = 2.5
LOOP_SLOPE = 2.0
LEFT_S = 20.0


@dataclass(frozen=True)
class Play:
    """The chances of one play of each pair [pairs]: shares of the kinds of play, and their median log s."""

    skip: F32
    loop: F32
    skip_log_s: F32
    watch_log_s: F32
    loop_log_s: F32


def chances(regime: Regime, appeal: F32, looping: F32) -> Play:
    """What a play will be like. appeal: see latent.appeal; looping: user's and video's together."""
    skip = expit(np.float32(regime.skip_logit) - np.float32(SKIP_SLOPE) * appeal)
    loop = expit(np.float32(regime.loop_logit) + looping + np.float32(LOOP_SLOPE) * appeal)
    watch_log_s = np.float32(np.log(regime.watch_s)) + appeal
    return Play(
        skip=skip * (1 - np.float32(regime.left_share)),
        loop=loop * (1 - skip) * (1 - np.float32(regime.left_share)),
        skip_log_s=np.full_like(appeal, np.log(regime.skip_s)),
        watch_log_s=watch_log_s,
        loop_log_s=watch_log_s + np.float32(np.log(regime.loop_factor)),
    )


def draw_play_ms(regime: Regime, play: Play, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """One play of each pair, in whole ms from 0 on."""
    rows = len(play.skip)
    kind = random.random(rows, dtype=np.float32)
    normal = random.standard_normal(rows, dtype=np.float32)
    log_s = np.where(
        kind < play.skip,
        play.skip_log_s + np.float32(regime.skip_sigma) * normal,
        np.where(
            kind < play.skip + play.loop,
            play.loop_log_s + np.float32(regime.loop_sigma) * normal,
            play.watch_log_s + np.float32(regime.watch_sigma) * normal,
        ),
    )
    seconds = np.exp(log_s.astype(np.float64))
    left = np.flatnonzero(kind >= 1 - regime.left_share)
    seconds[left] = LEFT_S / np.maximum(random.random(len(left)), LEFT_S / regime.play_s_max)
    milliseconds: npt.NDArray[np.int64] = np.rint(np.minimum(seconds, regime.play_s_max) * 1000).astype(
        np.int64
    )
    return milliseconds


def expected_ratio(regime: Regime, play: Play, log_length: F32) -> F32:
    """The mean watch_ratio of endless plays of each pair (play cap on log-normal parts left out)."""
    watch = 1 - play.skip - play.loop - np.float32(regime.left_share)
    mean_s = (
        play.skip * np.exp(play.skip_log_s + np.float32(regime.skip_sigma**2 / 2))
        + watch * np.exp(play.watch_log_s + np.float32(regime.watch_sigma**2 / 2))
        + play.loop * np.exp(play.loop_log_s + np.float32(regime.loop_sigma**2 / 2))
        + np.float32(regime.left_share * LEFT_S * (1 + np.log(regime.play_s_max / LEFT_S)))
    )
    return (mean_s * np.exp(-log_length)).astype(np.float32)


def probability_over(regime: Regime, play: Play, log_length: F32, ratio: float) -> F32:
    """The probability that watch_ratio exceeds `ratio`, for each pair."""
    log_s = log_length + np.float32(np.log(ratio))
    watch = 1 - play.skip - play.loop - np.float32(regime.left_share)
    over: F32 = (
        play.skip * ndtr((play.skip_log_s - log_s) / np.float32(regime.skip_sigma))
        + watch * ndtr((play.watch_log_s - log_s) / np.float32(regime.watch_sigma))
        + play.loop * ndtr((play.loop_log_s - log_s) / np.float32(regime.loop_sigma))
        + np.float32(regime.left_share) * np.minimum(1, np.exp(np.float32(np.log(LEFT_S)) - log_s))
    ).astype(np.float32)
    return over
