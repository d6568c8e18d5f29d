"""ALS factors of users and videos, refitted on growing windows and stamped with what each fit had seen.

A fit at a cutoff sees only plays strictly before it, and its factors carry the cutoff as their instant: the
point-in-time join then gives each play factors that cannot have seen it. When a refit happens depends on the
calendar and on earlier plays only, never on where the log ends: a play gets the same factors whether or not
anything comes after it, and scoring gets factors as fresh, or as old, as training got. A few plays that
arrive late wait for the next refit (late_plays.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.errors import InputError
from nightreel.core.logs import progress
from nightreel.core.memory import give_back_memory
from nightreel.core.play_days import files_by_day, rows_of
from nightreel.core.settings import DataSettings, FeatureSettings
from nightreel.core.settings.needs import FitNeeds, HomeNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines.collaborative.biased_als import biased_fits
from pipelines.collaborative.fits import Fit
from pipelines.collaborative.late_plays import Arrivals
from pipelines.collaborative.log import Log
from pipelines.collaborative.past import Past, digests_of_pasts
from pipelines.known import require_tables
from pipelines.local_days import INSTANT, NEVER, start_of_day

__all__ = ["FACTORS", "Fit", "Log", "before_first_refit", "build_factors", "refit_cutoffs"]

# Share of the plays that must be new for a refit: KuaiRec was collected in three windows, and between them
# there are weeks with a handful of plays, from which nothing is learnt.
_NEW_SHARE = 0.01
# Plays per factor before the first refit: KuaiRec has a few stray plays weeks before all others, and a model
# (or a vocabulary) learnt from those alone would be noise.
_PLAYS_A_FACTOR = 32
# On a cluster, ALS of fewer plays is fitted on one node, with the bits of the local engine, which shards do
# not give. At this size one core fits it in 70 s and 1 GB.
SHARDED_PLAYS_MIN = 50_000_000


class FactorFacts(Facts):
    """The number of fits made and of earlier fits kept, and the cutoff of each; or why there are none."""

    als_refits: int
    als_refits_kept: int
    als_cutoffs: list[str]
    als_unknown: str | None = None


def build_factors(settings: FitNeeds, *, force: bool = False) -> StepResult[FactorFacts]:
    """Write the sources of `user_factors` and `video_factors`: a row per key and refit, list<float32>.

    Raises:
        InputError: if the table of interactions is missing or empty.
    """
    interactions, wrote = settings.paths.interactions, _sources(settings)
    require_tables([interactions])
    attempt = FACTORS.attempt(settings, [interactions], force=force)
    if attempt.known is not None:
        return FACTORS.skipped((interactions,), wrote, attempt.known)
    attempt.begin()
    arrivals, zone = Arrivals.of(interactions), settings.data.zone
    plays_of_days = {day: sum(plays.values()) for day, plays in arrivals.plays.items()}
    cutoffs = refit_cutoffs(plays_of_days, settings.data, settings.features)
    seen_until = arrivals.seen_until(cutoffs, zone)
    seen = [arrivals.digests_before(*one, zone) for one in zip(cutoffs, seen_until, strict=True)]
    digests = digests_of_pasts(seen, cutoffs)
    past = Past(
        settings.paths.state / "factors_past.json", wrote, fingerprint(settings=FACTORS.settings_in(settings))
    )
    kept = 0 if force else past.holds(digests)
    done = past.fit_at(cutoffs[kept - 1]) if kept else None
    users, videos = ([_rows_of(source, cutoffs[:kept])] if kept else [] for source in wrote)
    with progress("ALS", total=len(cutoffs) - kept) as advance:
        # If nothing is fitted, the log is not read.
        new = _fits(arrivals, cutoffs, seen_until, settings, done) if kept < len(cutoffs) else ()
        for fit in new:
            users.append(
                _source(columns.USER_ID, fit.user_ids, columns.USER_FACTOR, fit.user_factors, fit.cutoff)
            )
            videos.append(
                _source(columns.VIDEO_ID, fit.video_ids, columns.VIDEO_FACTOR, fit.video_factors, fit.cutoff)
            )
            advance()
    for path, key, parts in zip(wrote, (columns.USER_ID, columns.VIDEO_ID), (users, videos), strict=True):
        with atomic_write(path, checksum=True) as temporary:
            pl.concat(parts).sort(key, columns.EVENT_TIMESTAMP).write_parquet(temporary)
    past.write(digests)
    seeing = [cutoff for cutoff in cutoffs if cutoff != NEVER]
    facts = FactorFacts(
        als_refits=len(seeing) and len(cutoffs) - kept,
        als_refits_kept=len(seeing) and kept,
        als_cutoffs=[cutoff.isoformat() for cutoff in seeing],
        als_unknown=None if seeing else _unknown(settings.features),
    )
    return attempt.finished((interactions,), wrote, facts, outputs=wrote)


def _fits(
    arrivals: Arrivals,
    cutoffs: Sequence[datetime],
    seen_until: Sequence[datetime],
    settings: FitNeeds,
    done: Fit | None,
) -> Iterator[Fit]:
    days = list(arrivals.files.values())
    if settings.cluster.engine == "ray" and rows_of(days) >= SHARDED_PLAYS_MIN:
        from pipelines.collaborative.on_ray import fits_of_shards  # Ray is an extra

        return fits_of_shards(days, cutoffs, seen_until, settings, done)
    log = Log.read(days, cutoffs, seen_until, settings.data.targets.watch_ratio_clip)
    give_back_memory()  # what the plays were read into
    return biased_fits(log, settings, done)


def _unknown(features: FeatureSettings) -> str:
    plays, days = features.als.factors * _PLAYS_A_FACTOR, features.als.refit_days
    return (
        f"features of ALS and of texts are unknown in training: no refit, every {days} days, has more than "
        f"{plays:,} plays before it, {_PLAYS_A_FACTOR} for each of [features.als] factors"
    )


def _sources(settings: HomeNeeds) -> tuple[Path, Path]:
    return (
        settings.paths.feature_source(columns.USER_FACTORS),
        settings.paths.feature_source(columns.VIDEO_FACTORS),
    )


def refit_cutoffs(
    plays_of_days: Mapping[date, int], data: DataSettings, features: FeatureSettings
) -> list[datetime]:
    """When ALS is refitted: at a local midnight every `refit_days` days, counted from the first play's day.

    A midnight is left out where hardly any play is new since the last cutoff (_NEW_SHARE), or where there are
    too few plays yet (_PLAYS_A_FACTOR); only the past decides. The end of the last play's day is the last
    midnight that counts. If none is left, the only cutoff is NEVER, which no row sees.

    Args:
        plays_of_days: the number of plays of each local day with some.

    Raises:
        InputError: if there are no plays.
    """
    days = sorted(day for day, plays in plays_of_days.items() if plays)
    if not days:
        raise InputError("interactions: the table has no rows.", "Ingest a log with plays.")
    first_day = days[0]
    cutoffs: list[datetime] = []
    least = features.als.factors * _PLAYS_A_FACTOR + 1
    for later in count(features.als.refit_days, features.als.refit_days):
        refit_day = first_day + timedelta(days=later)
        if refit_day > days[-1] + timedelta(days=1):
            break
        plays = sum(plays_of_days[day] for day in days if day < refit_day)
        if plays >= least:
            cutoffs.append(start_of_day(refit_day, data.zone))
            least = plays + max(round(plays * _NEW_SHARE), 1)
    return cutoffs or [NEVER]


def before_first_refit(
    interactions: Path, data: DataSettings, features: FeatureSettings
) -> tuple[datetime, list[Path]]:
    """The first cutoff, and the files of the days before it, at least one."""
    files = files_by_day(interactions)
    cutoff = refit_cutoffs({day: rows_of([path]) for day, path in files.items()}, data, features)[0]
    return cutoff, [path for day, path in files.items() if start_of_day(day, data.zone) < cutoff]


def _rows_of(source: Path, cutoffs: Sequence[datetime]) -> pl.DataFrame:
    """What a source holds of these fits."""
    return pl.read_parquet(source).filter(pl.col(columns.EVENT_TIMESTAMP).is_in(list(cutoffs)))


def _source(key: str, ids: np.ndarray, name: str, factors: np.ndarray, cutoff: datetime) -> pl.DataFrame:
    return pl.DataFrame({key: ids}).select(
        key,
        pl.lit(cutoff, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP),
        pl.Series(name, factors, dtype=pl.Array(pl.Float32, factors.shape[1])).cast(pl.List(pl.Float32)),
    )


FACTORS: Step[FactorFacts] = Step(
    name="factors",
    does="Fit the factors of users and videos on growing windows.",
    reads=lambda settings: (settings.paths.interactions,),
    writes=_sources,
    # Exactly what decides the factors: threads do not, nor how the nearest videos are searched for.
    settings=(
        "features.als.factors",
        "features.als.refit_days",
        "data.time_zone",
        "seed",
        "data.targets.watch_ratio_clip",
        "data.targets.like_threshold",
    ),
    facts=FactorFacts,
    run=lambda settings, request: build_factors(settings, force=request.force),
)
