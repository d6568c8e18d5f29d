"""ALS factors of users and videos, refitted on growing windows and stamped with what each fit had seen.

A fit at a cutoff sees only plays strictly before it, and its factors carry the cutoff as their instant: the
point-in-time join then gives each play factors that cannot have seen it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nightreel import columns
from nightreel.artefacts import StepRecord, StepResult, fingerprint, fingerprint_of_files, written_whole
from nightreel.errors import InputError
from nightreel.logs import progress
from nightreel.settings import Settings
from pipelines.local_days import INSTANT, ends_of_days, start_of_day

# Plays a factor that there must be before the first refit but the last: KuaiRec has a few stray plays weeks
# before all others, and a model (or a vocabulary) learnt from those alone would be noise.
_PLAYS_A_FACTOR = 32
_WARM_ITERATIONS = 5


@dataclass(frozen=True)
class Factors:
    """The factors of one fit: sorted ids and a float32 row each; none for who had no play before cutoff."""

    cutoff: datetime
    user_ids: np.ndarray
    user_factors: np.ndarray
    video_ids: np.ndarray
    video_factors: np.ndarray


def build_factors(settings: Settings, *, force: bool = False) -> StepResult:
    """Write the sources of `user_factors` and `video_factors`: a row a key and refit, list<float32>.

    Raises InputError where the table of interactions is missing or empty.
    """
    interactions = settings.paths.table("interactions")
    if not interactions.is_file():
        raise InputError(f"{interactions}: no such table.", "Run `nightreel ingest` first.")
    wrote = tuple(
        settings.paths.feature_source(view) for view in (columns.USER_FACTORS, columns.VIDEO_FACTORS)
    )
    record = StepRecord(settings.paths.state / "factors.json")
    names = {name for name in type(settings).model_fields if name.startswith("als_")}
    current = fingerprint(
        files=fingerprint_of_files([interactions]),
        settings=settings.model_dump(
            include=names | {"time_zone", "seed", "threads", "like_threshold", "watch_ratio_clip"}
        ),
    )
    if not force and record.is_done(current):
        return StepResult("factors", True, (interactions,), wrote, record.summary())
    record.forget()
    plays = pl.read_parquet(
        interactions,
        columns=[columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP, columns.WATCH_RATIO],
    )
    cutoffs = refit_cutoffs(plays[columns.EVENT_TIMESTAMP], settings)
    users, videos = [], []
    with progress("ALS", total=len(cutoffs)) as advance:
        for fit in fits(plays, cutoffs, settings):
            users.append(_source(columns.USER_ID, columns.USER_FACTOR, fit.user_ids, fit.user_factors, fit))
            videos.append(
                _source(columns.VIDEO_ID, columns.VIDEO_FACTOR, fit.video_ids, fit.video_factors, fit)
            )
            advance()
    for path, key, parts in zip(wrote, (columns.USER_ID, columns.VIDEO_ID), (users, videos), strict=True):
        with written_whole(path) as temporary:
            pl.concat(parts).sort(key, columns.EVENT_TIMESTAMP).write_parquet(temporary)
    summary = {"als_refits": len(cutoffs), "als_cutoffs": [cutoff.isoformat() for cutoff in cutoffs]}
    record.finish(current, wrote, summary)
    return StepResult("factors", False, (interactions,), wrote, summary)


def refit_cutoffs(instants: pl.Series, settings: Settings) -> list[datetime]:
    """When ALS is refitted: every als_refit_days local midnights after the first play's day, and at the end.

    instants: when the plays happened, ascending. A midnight is left out where no play is new since the last
    cutoff, or where there are too few plays yet (_PLAYS_A_FACTOR); only the past decides. The last cutoff is
    the end of the last play's local day. Raises InputError where there are no plays.
    """
    if instants.is_empty():
        raise InputError("interactions: the table has no rows.", "Ingest a log with plays.")
    ends = ends_of_days(pl.Series([instants[0], instants[-1]], dtype=INSTANT), settings.zone)
    last = ends[1]
    first_day = instants[0].astimezone(settings.zone).date()
    cutoffs: list[datetime] = []
    seen = settings.als_factors * _PLAYS_A_FACTOR
    days = settings.als_refit_days
    while (cutoff := start_of_day(first_day + timedelta(days=days), settings.zone)) < last:
        plays = instants.search_sorted(cutoff, side="left")
        if plays > seen:
            cutoffs.append(cutoff)
            seen = plays
        days += settings.als_refit_days
    return [*cutoffs, last]


def fits(plays: pl.DataFrame, cutoffs: Sequence[datetime], settings: Settings) -> Iterator[Factors]:
    """Fit ALS at each cutoff on the plays strictly before it, starting from the fit before.

    plays: user_id, video_id, event_timestamp ascending, watch_ratio. Rows of the factor matrices are given
    out in the order in which keys become known, so that nothing of a fit depends on keys that come later.
    """
    ends = [plays[columns.EVENT_TIMESTAMP].search_sorted(cutoff, side="left") for cutoff in cutoffs]
    users = _Key.of(plays[columns.USER_ID], ends)
    videos = _Key.of(plays[columns.VIDEO_ID], ends)
    values = _preferences(plays[columns.WATCH_RATIO].to_numpy(), settings)
    random = np.random.default_rng(settings.seed)
    user_factors = video_factors = np.zeros((0, settings.als_factors), dtype=np.float32)
    for number, (cutoff, end) in enumerate(zip(cutoffs, ends, strict=True)):
        shape = (users.known[number], videos.known[number])
        matrix = csr_matrix((values[:end], (users.rows[:end], videos.rows[:end])), shape=shape)
        # One BLAS thread: implicit has its own, and more would make the sums depend on their timing.
        with threadpool_limits(1, user_api="blas"):
            model = AlternatingLeastSquares(
                factors=settings.als_factors,
                regularization=settings.als_regularization,
                iterations=settings.als_iterations if number == 0 else _WARM_ITERATIONS,
                num_threads=settings.threads,
                random_state=settings.seed,
                dtype=np.float32,
            )
            model.user_factors = _grown(user_factors, shape[0], random)
            model.item_factors = _grown(video_factors, shape[1], random)
            model.fit(matrix, show_progress=False)
        user_factors, video_factors = model.user_factors, model.item_factors
        yield Factors(cutoff, *users.sorted(user_factors), *videos.sorted(video_factors))


def _preferences(ratios: np.ndarray, settings: Settings) -> np.ndarray:
    """What each play says: positive confidence that the user likes the video, negative that not; float32."""
    confidence = settings.als_confidence
    liked = ratios > settings.like_threshold
    return np.where(liked, confidence, -confidence).astype(np.float32)


@dataclass(frozen=True)
class _Key:
    """Users or videos by the row that they have in the factor matrices."""

    ids: np.ndarray  # id of each row, in the order of becoming known
    rows: np.ndarray  # int32, the row of each play's key
    known: list[int]  # rows known at each cutoff

    @classmethod
    def of(cls, keys: pl.Series, ends: Sequence[int]) -> "_Key":
        """Give out rows: keys of the first window by id, then the new ones of the second, and so on."""
        window = pl.Series("window", np.searchsorted(ends, np.arange(keys.len()), side="right"))
        first = (
            pl.DataFrame({"key": keys, "window": window})
            .group_by("key")
            .agg(pl.col("window").min())
            .sort("window", "key")
        )
        ids = first["key"].to_numpy()
        order = np.argsort(ids)
        rows = order[np.searchsorted(ids, keys.to_numpy(), sorter=order)].astype(np.int32)
        known = np.searchsorted(first["window"].to_numpy(), np.arange(len(ends)), side="right")
        return cls(ids, rows, [int(count) for count in known])

    def sorted(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ids that these rows stand for, ascending, and the rows in that order."""
        ids = self.ids[: len(factors)]
        order = np.argsort(ids)
        return ids[order], factors[order]


def _grown(factors: np.ndarray, rows: int, random: np.random.Generator) -> np.ndarray:
    """These factors, and small random ones for the rows that are new."""
    new = random.random((rows - len(factors), factors.shape[1]), dtype=np.float32) * 0.01
    return np.concatenate([factors, new])


def _source(key: str, name: str, ids: np.ndarray, factors: np.ndarray, fit: Factors) -> pl.DataFrame:
    return pl.DataFrame({key: ids}).select(
        key,
        pl.lit(fit.cutoff, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP),
        pl.Series(name, factors, dtype=pl.Array(pl.Float32, factors.shape[1])).cast(pl.List(pl.Float32)),
    )
