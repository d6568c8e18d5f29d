"""Which plays are liked, by two labels; `duration` does not depend on the video's length.

`ratio`: watch_ratio above `like_threshold`, as in the original work. People watch about as long whatever a
video's length, so this is nearly a label "short", unless a play of `long_view_s` seconds counts as well, as
in Kuaishou's own logs (18 s; Gao et al., KuaiRand, CIKM 2022). `duration`: watch_ratio above the
LIKE_QUANTILE of the plays of videos of similar length. Source: Zhan et al., Deconfounding Duration Bias in
Watch-time Prediction for Video Recommendation (D2Q, KDD 2022).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nightreel.core.settings import DataSettings

Label = Literal["ratio", "duration"]
RATIO: Label = "ratio"
DURATION: Label = "duration"
LABELS: tuple[Label, ...] = (RATIO, DURATION)
# As in Kuaishou's study of duration bias: the highest fifth among videos of similar length is liked.
LIKE_QUANTILE = 0.8
# The settings that decide the label, for the records of the steps that read it.
LABEL_SETTINGS = ("data.targets.label", "data.targets.like_threshold", "data.targets.long_view_s")


def labels_of(settings: DataSettings) -> tuple[Label, ...]:
    """The labels that a log allows: without lengths there is no `duration`."""
    return LABELS if settings.has_lengths else (RATIO,)


# A bucket's upper edge is this many times its lower one, so relative widths are the same for 2 s and 2 min.
_EDGE_STEP = 1.15
_PLAYS_A_BUCKET = 500
_GRID = np.linspace(0.0, 1.0, 201)
_FILE = "labels.json"
# A table of the values is small anyway, and the largest number of two bytes.
_SPAN_MIN, _RANKS_MAX = 1_000_000, 65_535


@dataclass(frozen=True)
class LengthBuckets:
    """The distribution of training plays' watch_ratio in each bucket of video length.

    Attributes:
        edges_ms: float64 [buckets - 1], ascending, the borders between buckets.
        ratios: float64 [buckets, grid], each bucket's quantiles of watch_ratio.
    """

    edges_ms: np.ndarray
    ratios: np.ndarray

    @classmethod
    def fit(cls, watch_ratio: np.ndarray, video_duration_ms: np.ndarray) -> "LengthBuckets":
        """Bucket plays by length, log-spaced; neighbours are joined until each has enough plays."""
        order = _ascending(video_duration_ms)
        lengths = np.maximum(video_duration_ms[order], 1).astype(np.float64)
        ratios = watch_ratio[order]
        starts = [0]
        if len(lengths):
            steps = int(np.ceil(np.log(lengths[-1] / lengths[0]) / np.log(_EDGE_STEP)))
            for edge in np.searchsorted(
                lengths, lengths[0] * _EDGE_STEP ** np.arange(1, steps), side="right"
            ):
                if edge - starts[-1] >= _PLAYS_A_BUCKET and len(lengths) - edge >= _PLAYS_A_BUCKET:
                    starts.append(int(edge))
        edges = np.array([(lengths[start - 1] + lengths[start]) / 2 for start in starts[1:]])
        parts = np.split(ratios, starts[1:]) if len(ratios) else [np.ones(1)]
        return cls(edges, np.array([np.quantile(part, _GRID) for part in parts], dtype=np.float64))

    def bucket(self, video_duration_ms: np.ndarray) -> np.ndarray:
        """The bucket of each length: int64."""
        return np.searchsorted(self.edges_ms, video_duration_ms, side="right")

    def thresholds(self, quantile: float) -> np.ndarray:
        """The watch_ratio at this quantile of each bucket: float64 [buckets]."""
        return np.array([np.interp(quantile, _GRID, ratios) for ratios in self.ratios])

    def quantiles(self, watch_ratio: np.ndarray, video_duration_ms: np.ndarray) -> np.ndarray:
        """The share of its bucket's training plays below each watch_ratio, 0 to 1: float32."""
        found = np.zeros(len(watch_ratio), dtype=np.float32)
        bucket = self.bucket(video_duration_ms)
        order = _ascending(bucket)
        borders = np.searchsorted(bucket[order], np.arange(len(self.ratios) + 1))
        for position, ratios in enumerate(self.ratios):
            rows = order[borders[position] : borders[position + 1]]
            # Among tied quantiles (many plays with ratio 0) the highest counts, as in "not above".
            last = np.append(ratios[1:] != ratios[:-1], True)
            found[rows] = np.interp(watch_ratio[rows], ratios[last], _GRID[last])
        return found

    def save(self, folder: Path) -> None:
        """Write the buckets as JSON."""
        content = {"edges_ms": self.edges_ms.tolist(), "ratios": self.ratios.tolist()}
        (folder / _FILE).write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "LengthBuckets":
        """Read what `save` wrote."""
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(np.array(content["edges_ms"]), np.array(content["ratios"]))


def _ascending(values: np.ndarray) -> np.ndarray:
    """A stable argsort. Of whole numbers that are close together, like lengths, their ranks are sorted.

    NumPy sorts numbers of two bytes in linear time: those of eleven million plays in .4 s instead of 1.1.
    """
    lowest, highest = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if values.dtype.kind not in "iu" or highest - lowest >= max(len(values), _SPAN_MIN):
        return np.argsort(values, kind="stable")
    is_there = np.zeros(highest - lowest + 1, dtype=bool)
    is_there[values - lowest] = True
    if np.count_nonzero(is_there) > _RANKS_MAX:
        return np.argsort(values, kind="stable")
    rank = (np.cumsum(is_there) - 1).astype(np.uint16)
    return np.argsort(rank[values - lowest], kind="stable")


# No buckets, for the label `ratio`.
NO_BUCKETS = LengthBuckets(np.zeros(0), np.ones((1, len(_GRID))))


def buckets_for(label: Label, watch_ratio: np.ndarray, video_duration_ms: np.ndarray) -> LengthBuckets:
    """The buckets that a label needs: fitted on these plays for `duration` (a full sort), else empty."""
    return LengthBuckets.fit(watch_ratio, video_duration_ms) if label == DURATION else NO_BUCKETS


@dataclass(frozen=True)
class Targets:
    """The targets of the models, one entry per play: liked bool, amount float32, at most `top`."""

    liked: np.ndarray
    amount: np.ndarray
    top: float


def is_liked(
    label: Label,
    buckets: LengthBuckets,
    watch_ratio: np.ndarray,
    video_duration_ms: np.ndarray,
    settings: DataSettings,
) -> np.ndarray:
    """Whether each play is liked by a label: bool [plays]."""
    if label == RATIO:
        liked: np.ndarray = watch_ratio > settings.targets.like_threshold
        if settings.targets.long_view_s is not None:
            played_ms = np.rint(watch_ratio.astype(np.float64) * video_duration_ms)
            liked |= played_ms >= settings.targets.long_view_s * 1_000
        return liked
    thresholds = buckets.thresholds(LIKE_QUANTILE)[buckets.bucket(video_duration_ms)]
    above: np.ndarray = watch_ratio > thresholds
    return above


def targets(
    label: Label,
    buckets: LengthBuckets,
    watch_ratio: np.ndarray,
    video_duration_ms: np.ndarray,
    settings: DataSettings,
) -> Targets:
    """Both targets by a label.

    `ratio`: liked above like_threshold, or from long_view_s on; amount is watch_ratio, clipped at
    watch_ratio_clip. `duration`: liked above LIKE_QUANTILE of the bucket; amount is the quantile in the
    bucket, 0 to 1.
    """
    liked = is_liked(label, buckets, watch_ratio, video_duration_ms, settings)
    if label == RATIO:
        clip = settings.targets.watch_ratio_clip
        return Targets(liked, np.clip(watch_ratio, 0.0, clip).astype(np.float32, copy=False), clip)
    return Targets(liked, buckets.quantiles(watch_ratio, video_duration_ms), 1.0)
