"""Explains one video of one user's list: the night is composed again for that user, and followed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from nightreel.core import columns
from nightreel.core.ids import NAMES, Ids, ListIds, ids_file
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import NightNeeds
from pipelines import model_registry
from pipelines.local_days import ALWAYS_KNOWN
from pipelines.rankers.objective import objective_of
from scoring.database.connection import reading
from scoring.database.exclusions import read_exclusions
from scoring.database.id_columns import as_stored
from scoring.database.kept_runs import run_or_shown
from scoring.database.replay import as_known_at
from scoring.database.schema import require_current
from scoring.database.show import descriptions
from scoring.database.tables import recommendation
from scoring.explain.composed import NightOfUser
from scoring.explain.contributions import strongest
from scoring.explain.explanation import Contribution, Explanation, Nearby, NoListError
from scoring.explain.nearby import nearby_played
from scoring.explain.reasons import reason_of
from scoring.lists.eligibility import Exclusions

_NO_VIDEO = -(2**63)  # the code of an id that the home does not know
# Features whose values may be codes of the log's own.
_CODED = {**NAMES, **dict.fromkeys(columns.CATEGORY_LEVELS, "category")}


def explain(
    settings: NightNeeds, user_id: int | str, video_id: int | str, *, run_id: int | None = None
) -> Explanation:
    """Why the video has its rank in the user's list, or why it is not in it.

    Everything is as of the run's instant, with what had arrived by its night and with its model; only the
    settings and the blocklist are today's. If the list differs because of them, `remark` says so.

    Args:
        run_id: a run whose lists are kept, by default the one that apps read.

    Raises:
        InputError: the run or its model no longer exists; NoListError: the user has no list in it.
    """
    ids = ListIds.of(settings.paths)
    with reading(settings) as connection:
        require_current(connection)
        run = run_or_shown(connection, run_id, remedy="Run `nightreel score` first.")
        in_table = as_stored(connection, recommendation, columns.USER_ID, ids.user, str(user_id))
        stored = _stored_list(connection, run.run_id, in_table)
        exclusions = read_exclusions(connection, ids)
    if not stored:
        raise NoListError(f"User {user_id} has no list in run {run.run_id}.", "Choose another user or run.")
    row = next((one for one in stored if str(one[columns.VIDEO_ID]) == str(video_id)), None)
    model = model_registry.find(settings.paths, run.model_version)
    # From here on ids are the home's own codes.
    user = ids.user.codes_of([user_id])[ids.user.key(user_id)]
    codes = ids.video.codes_of([one[columns.VIDEO_ID] for one in stored])
    listed = np.array([codes[ids.video.key(one[columns.VIDEO_ID])] for one in stored])
    # A video in the list was not blocked then.
    blocked = np.setdiff1d(exclusions.blocklist, listed)
    with as_known_at(settings, run.known_at or ALWAYS_KNOWN) as home:
        night = NightOfUser.of(
            home.changed({"lists.top_k": run.k}),
            model,
            run,
            user,
            Exclusions(blocked, np.setdiff1d(exclusions.skip_user, [user])),
        )
        video = ids.video.codes_of([video_id]).get(ids.video.key(video_id))
        found = _explanation(
            night,
            _NO_VIDEO if video is None else video,
            row,
            listed,
            moved=any(one[columns.RULE] for one in stored),
        )
    nearby = tuple(_outward(found.nearby, ids, settings.paths))
    features = tuple(_named(one, settings.paths) for one in found.features)
    return replace(found, user_id=user_id, video_id=video_id, nearby=nearby, features=features)


def _outward(nearby: tuple[Nearby, ...], ids: ListIds, paths: Paths) -> Iterator[Nearby]:
    """The same with the log's own ids, and captions."""
    videos: Sequence[int | str] = ids.video.outward([int(one.video_id) for one in nearby])
    captions = descriptions(paths, videos)
    for one, video in zip(nearby, videos, strict=True):
        known = captions.get(video)
        yield replace(one, video_id=video, caption=None if known is None else known["caption"])


def _named(feature: Contribution, paths: Paths) -> Contribution:
    """The same with the log's own author, tag or category instead of its code."""
    of = _CODED.get(feature.feature)
    if of is None or not isinstance(feature.value, int) or not ids_file(paths, of).is_file():
        return feature
    (name,) = Ids(of, ids_file(paths, of), is_text=True).outward([feature.value])
    return replace(feature, value=name)


def _stored_list(connection: Connection, run_id: int, user_id: int | str | None) -> list[dict[str, Any]]:
    of_user = recommendation.c[columns.USER_ID] == user_id
    query = (
        select(recommendation)
        .where(recommendation.c[columns.RUN_ID] == run_id, of_user)
        .order_by(recommendation.c[columns.RANK])
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _explanation(
    night: NightOfUser, video_id: int, row: dict[str, Any] | None, stored: np.ndarray, *, moved: bool
) -> Explanation:
    """The explanation of one video.

    Args:
        row: of the stored list, None if the video is not in it.
        stored: the list's videos.
        moved: whether rules have moved some of them.
    """
    video = night.index(video_id)
    trace, run = night.trace, night.run
    at = None if trace is None or video is None else trace.candidate(video)
    sources = trace.brought_by[at] if trace is not None and at is not None else ""
    if row is not None and row[columns.CANDIDATE_SOURCES] is not None:
        sources = row[columns.CANDIDATE_SOURCES]
    features = () if trace is None or video is None else strongest(trace, video, night.categories)
    near = nearby_played(
        night.plays,
        night.user_id,
        video_id,
        as_of=run.as_of,
        store=night.store,
        night=night.night,
        settings=night.settings.data,
    )
    found = row or {}
    return Explanation(
        night.user_id,
        video_id,
        run.run_id,
        run.as_of,
        night.model.version,
        objective_of(night.model),
        found.get(columns.RANK),
        None if video is None else night.position(video),
        None if row is not None else reason_of(night, video_id, video, moved=moved),
        found.get(columns.SOURCE),
        found.get(columns.SCORE),
        found.get(columns.CLASSIFIER_SCORE),
        found.get(columns.REGRESSOR_SCORE),
        found.get(columns.ALS_SCORE),
        tuple(name for name in str(sources).split(",") if name),
        features,
        near,
        _remark(night, stored, moved=moved),
        found.get(columns.RULE),
    )


def _remark(night: NightOfUser, stored: np.ndarray, *, moved: bool) -> str | None:
    if moved:
        return "Rules have moved rows of this list: positions are those of the model's own order."
    if night.trace is None:
        return None
    if night.settings.ranker.last_stage is not None:
        own = night.settings.ranker.last_stage
        return f"The last stage {own} has the last word: positions are those before it."
    made = night.candidates.video_id[night.trace.listed]
    if np.array_equal(made, stored):
        return None
    return (
        "With today's settings and blocklist the list comes out otherwise than it is stored: positions "
        "and reasons are those of today's."
    )
