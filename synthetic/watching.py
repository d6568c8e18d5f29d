"""How long people watch: a mixture whose expectation is known, nearly independent of the video's length.

A play is one of four: skipped soon, watched, watched on and on (looping), or left running. How much the
user cares for the video moves the shares and the times. Times are log-normal, those left running Pareto.
The constants were fitted to KuaiRec's published figures: quartiles, means and tails of play_duration and
watch_ratio, the shares over 1 and 2, the spread between videos and users, and watch_ratio by length.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic import draws, exact
from synthetic.exact import expit, ndtr

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


ATTENTIVE = Regime(-1.95, 1.20, 1.20, 7.84, 0.28, -3.57, 2.40, 0.55, 3e-4, 7_988.155)  # small_matrix
CASUAL = Regime(-1.17, 1.45, 0.86, 8.16, 0.34, -3.43, 2.70, 0.52, 4e-3, 999.639)  # big_matrix

SKIP_SLOPE = 2.0
LOOP_SLOPE = 2.0
LEFT_S = 20.0
# Long videos are skipped a little more often; very short ones are watched a little shorter.
SKIP_LENGTH_SLOPE = 0.3
WATCH_LENGTH_POWER = 0.12
_TYPICAL_LOG_S = float(exact.log(9.6))
_FLAT_FROM_LOG_S = float(exact.log(12.5))


@dataclass(frozen=True)
class Chances:
    """The distribution of a play [pairs]: the shares of two kinds of play, and median log seconds."""

    skip: F32
    loop: F32
    watch_log_s: F32


def chances(regime: Regime, appeal: F32, looping: F32, log_length: F32) -> Chances:
    """The distribution of a play of each pair.

    Args:
        regime: how attentively the log is watched.
        appeal: from latent.appeal.
        looping: the sum of the user's and the video's.
        log_length: natural logarithm of the length in seconds.
    """
    longer = log_length - np.float32(_TYPICAL_LOG_S)
    skip = expit(
        np.float32(regime.skip_logit)
        + np.float32(SKIP_LENGTH_SLOPE) * longer
        - np.float32(SKIP_SLOPE) * appeal
    )
    loop = expit(np.float32(regime.loop_logit) + looping + np.float32(LOOP_SLOPE) * appeal)
    attended = np.float32(1 - regime.left_share)
    longer = np.minimum(longer, np.float32(_FLAT_FROM_LOG_S - _TYPICAL_LOG_S))
    return Chances(
        skip=(skip * attended).astype(np.float32),
        loop=(loop * (1 - skip) * attended).astype(np.float32),
        watch_log_s=np.float32(exact.log(regime.watch_s)) + appeal + np.float32(WATCH_LENGTH_POWER) * longer,
    )


def draw_play_ms(regime: Regime, chance: Chances, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """One play of each pair, in whole ms from 0 on."""
    rows = len(chance.skip)
    kind = random.random(rows, dtype=np.float32)
    normal = draws.normal(random, 1, rows).astype(np.float32)
    skipped = kind < chance.skip
    looped = ~skipped & (kind < chance.skip + chance.loop)
    median = np.where(skipped, np.float32(exact.log(regime.skip_s)), chance.watch_log_s)
    median[looped] += np.float32(exact.log(regime.loop_factor))
    sigma = np.where(
        skipped,
        np.float32(regime.skip_sigma),
        np.where(looped, np.float32(regime.loop_sigma), np.float32(regime.watch_sigma)),
    )
    seconds = exact.exp(median + sigma * normal)
    left = np.flatnonzero(kind >= 1 - regime.left_share)
    seconds[left] = LEFT_S / np.maximum(random.random(len(left)), LEFT_S / regime.play_s_max)
    capped = np.minimum(seconds, regime.play_s_max)
    milliseconds: npt.NDArray[np.int64] = np.rint(capped * 1000).astype(np.int64)
    return milliseconds


def expected_ratio(regime: Regime, chance: Chances, log_length: F32) -> F32:
    """The expected watch_ratio of a play of each pair.

    Means of log-normal times are exp(mu + sigma^2 / 2); that of a Pareto of exponent 1 from a, capped at b,
    is a (1 + log(b / a)). The cap is too far out to matter to the log-normal ones.
    """
    watch = 1 - chance.skip - chance.loop - np.float32(regime.left_share)
    watch_s = exact.exp(chance.watch_log_s)
    mean_s = (
        chance.skip * (regime.skip_s * _mean_factor(regime.skip_sigma))
        + watch * watch_s * _mean_factor(regime.watch_sigma)
        + chance.loop * watch_s * (regime.loop_factor * _mean_factor(regime.loop_sigma))
        + regime.left_share * LEFT_S * (1 + exact.log(regime.play_s_max / LEFT_S))
    )
    expected: F32 = (mean_s * exact.exp(-log_length)).astype(np.float32)
    return expected


def _mean_factor(sigma: float) -> float:
    """The mean of a log-normal distribution divided by its median."""
    return float(exact.exp(sigma * sigma / 2))


def probability_over(regime: Regime, chance: Chances, log_length: F32, ratio: float) -> F32:
    """The probability that watch_ratio exceeds `ratio`, for each pair."""
    log_s = log_length + np.float32(exact.log(ratio))
    watch = 1 - chance.skip - chance.loop - np.float32(regime.left_share)
    loop_log_s = chance.watch_log_s + np.float32(exact.log(regime.loop_factor))
    over: F32 = (
        chance.skip * ndtr((np.float32(exact.log(regime.skip_s)) - log_s) / np.float32(regime.skip_sigma))
        + watch * ndtr((chance.watch_log_s - log_s) / np.float32(regime.watch_sigma))
        + chance.loop * ndtr((loop_log_s - log_s) / np.float32(regime.loop_sigma))
        + np.float32(regime.left_share) * np.minimum(1, exact.exp(np.float32(exact.log(LEFT_S)) - log_s))
    ).astype(np.float32)
    return over
