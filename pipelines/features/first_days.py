"""Pairs that late plays give an earlier first day than the plays known so far did."""

import polars as pl

from nightreel.core import columns
from pipelines.features.earlier_pairs import EarlierPairs
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.seen_pairs import DAY, PAIR

FIRST_DAY = "first_day"


def moved_first_days(asked: pl.DataFrame, gained: GainedPlays, earlier: EarlierPairs) -> pl.DataFrame:
    """Those of some pairs whose first recorded play was on a later day than a play gained since.

    Few plays are read: on each day those of the asked users, if a pair of theirs is still undecided.

    Args:
        asked: user_id, video_id and DAY, that of a gained play.
        earlier: the pairs of the recorded days up to some weeks ago.

    Returns:
        user_id, video_id, DAY (the first of the pair's gained plays) and FIRST_DAY (before they came).
    """
    open_pairs = asked.group_by(PAIR).agg(pl.col(DAY).min())
    recorded = sorted(gained.known)
    covered = recorded[earlier.days - 1] if earlier.days else None
    if covered is not None and open_pairs.height:
        is_known = earlier.has(open_pairs[columns.USER_ID], open_pairs[columns.VIDEO_ID])
        open_pairs = open_pairs.filter(~(is_known & (open_pairs[DAY] > covered)))
    found = [open_pairs.clear().with_columns(pl.lit(None, dtype=pl.Date).alias(FIRST_DAY))]
    for day in recorded:
        of_day = open_pairs.filter(pl.col(DAY) < day)
        if of_day.height:
            played = gained.before(day, PAIR, of_day[columns.USER_ID].unique())
            hits = of_day.join(played, on=PAIR, how="semi")
            found.append(hits.with_columns(pl.lit(day).alias(FIRST_DAY)))
            open_pairs = open_pairs.join(hits, on=PAIR, how="anti")
    moved = pl.concat(found)
    for day in reversed(recorded):
        # A day that is covered says nothing of a pair that the covered days are known not to have.
        may_have = moved.filter(pl.col(DAY) >= day)
        if covered is not None and day <= covered:
            may_have = may_have.filter(pl.col(DAY) <= covered)
        if may_have.height:
            played = gained.before(day, PAIR, may_have[columns.USER_ID].unique())
            moved = moved.join(may_have.join(played, on=PAIR, how="semi"), on=PAIR, how="anti")
    return moved
