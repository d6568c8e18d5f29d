"""The scoring step: every user's list as of an instant from the champion model, published or not at all."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np

from feature_repo.open_store import store as open_store
from nightreel.core.artefacts import fingerprint
from nightreel.core.extras import require_extras
from nightreel.core.ids import ListIds
from nightreel.core.logs import get_logger, progress
from nightreel.core.settings.experiments import ExperimentSettings
from nightreel.core.settings.needs import NightNeeds
from nightreel.core.steps import Step, StepResult
from pipelines import model_registry
from pipelines.known import last_arrival, newest_play, raw_changes_since
from pipelines.labels import LengthBuckets
from pipelines.rankers.objective import objective_of, settings_without_effect
from pipelines.repeat_discount import with_fitted_discount
from scoring.database.connection import sql_engine
from scoring.database.exclusions import read_exclusions
from scoring.database.failures import translate_errors
from scoring.database.id_columns import fit_ids
from scoring.database.kept_runs import same_run
from scoring.database.list_inputs import list_files, list_inputs
from scoring.database.new_run import NewRun
from scoring.database.night_lists import lists_of_night
from scoring.database.repeats import read_repeats
from scoring.database.replay import as_known_at, moment_of
from scoring.database.run_digest import LIST_SETTINGS, digest_of_run
from scoring.database.runs import note_stages, publish_written
from scoring.database.runs import publish as publish_lists
from scoring.database.schema import upgrade
from scoring.database.score_facts import ScoreFacts
from scoring.database.shared_lists import shortages
from scoring.database.tables import OF_IDS, PUBLISHED, STORED
from scoring.database.url import database_url, masked
from scoring.database.writer import exclusive_lock
from scoring.lists.arms import Arm, arms_of_night
from scoring.lists.parts import Work
from scoring.lists.rows import Lists
from scoring.lists.shared.night import shared_lists

_log = get_logger(__name__)


def score_and_publish(
    settings: NightNeeds,
    *,
    as_of: datetime | None = None,
    model_version: str | None = None,
    known_at: datetime | None = None,
    replay: bool = False,
    publish: bool = False,
    force: bool = False,
    experiment: ExperimentSettings | None = None,
) -> StepResult[ScoreFacts]:
    """Score every user with what was known at `as_of`, audit the lists, and show them or store a replay.

    Skipped if the shown lists (for a replay: any kept lists) have the same inputs, model, instant and
    settings.

    Args:
        as_of: instant with a time zone; by default the end of the interactions' last local day, or now if
            that is earlier.
        model_version: by default the champion.
        known_at: only deliveries that had arrived by then are used; by default all or, if `as_of` is given,
            those that the newest stored run of that instant used.
        replay: store the run as a replay, regardless of the other arguments.
        publish: show the lists even if they are a replay.
        force: score even if the same lists exist.
        experiment: by default the one in the settings, unless `model_version` is given.

    Raises:
        InputError: inputs are missing or damaged, the instant is before the data or in the future, or the
            model uses other features.
        AuditError: the lists fail a check; the lists shown before stay.
        BusyError: another process publishes.
    """
    require_extras(settings)
    settings = with_fitted_discount(settings)
    url = database_url(settings)
    read = list_inputs(settings)
    model = (
        model_registry.champion(settings.paths)
        if model_version is None
        else model_registry.find(settings.paths, model_version)
    )
    if experiment is None and model_version is None:
        experiment = settings.experiments if settings.experiments.arms else None
    arms = arms_of_night(settings.paths, experiment, model)
    moment = moment_of(settings, as_of, known_at, model_version, now=datetime.now(UTC))
    instant, known_at = moment.as_of, moment.known_at
    replay = replay or moment.is_past
    opened = sql_engine(settings)
    stages = _Stopwatch()
    with translate_errors(url), exclusive_lock(opened) as connection:
        with connection.begin():
            upgrade(connection)
            ids = ListIds.of(settings.paths)
            fit_ids(connection, ids, OF_IDS)
            exclusions = replace(
                read_exclusions(connection, ids),
                repeats=read_repeats(connection, ids, instant, settings),
            )
            newest_play_at = newest_play(settings.paths, instant, known_at)
            # A list that did not say how new its plays are is made again.
            knew = {"newest_play": newest_play_at, "known_at": known_at if moment.knew_less else None}
            salt = None if experiment is None else experiment.salt
            inputs = digest_of_run(settings, read, arms, instant, exclusions, salt=salt, knew=knew)
            run = NewRun(
                instant,
                model.version,
                inputs,
                known_at,
                newest_play_at,
                replay=replay,
                show=publish or not replay,
                arms=None if experiment is None else experiment_json(experiment, arms),
            )
            same = same_run(connection, inputs, replay=replay, show=run.show)
        if same is not None and not force:
            facts = ScoreFacts(
                run_id=same.run_id, status=same.status, as_of=instant.isoformat(), database=masked(url)
            )
            return SCORE.skipped((*read, model.folder), (masked(url),), facts)
        stages.begin("prepare")
        with as_known_at(settings, known_at) as home:
            candidates, found = lists_of_night(
                home,
                open_store(),
                arms,
                experiment=experiment,
                instant=instant,
                exclusions=exclusions,
                known_at=known_at,
                is_home_kept=home is settings,
            )
            shared = shared_lists(
                candidates.video_id,
                instant,
                home,
                LengthBuckets.load(model.folder),
                # As the users' own lists have it.
                profiles_at=known_at if last_arrival(home.paths) > instant else None,
            )
        counts: Counter[str] = Counter()
        of_arms = tuple((one.arm.name, one.candidates) for one in found)
        if isinstance(found[0].lists, Work):
            from scoring.database.on_ray import ListsOnRay

            # Another database's run of the same inputs has its own parts, and removes those alone.
            parts = fingerprint(inputs=run.inputs, database=masked(url))
            on_ray = [
                ListsOnRay(one.lists, settings, parts, one.arm.name)
                for one in found
                if isinstance(one.lists, Work)
            ]
            if force:
                for one in on_ray:
                    one.forget()
            written = publish_written(
                connection,
                run,
                lambda run_id: [counts.update(one.write(connection, run_id)) for one in on_ray],
                candidates,
                settings,
                arms=of_arms,
                shared=shared,
                begin_stage=stages.begin,
            )
            for one in on_ray:
                one.forget()
        else:
            blocks = chain.from_iterable(one.lists for one in found if not isinstance(one.lists, Work))
            written = publish_lists(
                connection,
                run,
                _counted(blocks, counts, len(candidates.user_id)),
                candidates,
                settings,
                arms=of_arms,
                shared=shared,
                begin_stage=stages.begin,
            )
        note_stages(connection, written.run_id, stages.seconds())
    changes = raw_changes_since(settings.paths, known_at, instant)
    for remark in changes:
        _log.warning("not the same as then", run_id=written.run_id, reason=remark)
    for remark in written.remarks:
        _log.warning("lists lack what was asked", run_id=written.run_id, reason=remark)
    unread = settings_without_effect({objective_of(arm.model) for arm in arms}, settings.retrieval)
    remarks = [*changes, *written.remarks, *shortages(written.shared), *unread]
    if not run.show:
        remarks.append(
            f"This is a replay: apps do not see it; look at it with `nightreel show USER --run "
            f"{written.run_id}`, or show it to them with --publish."
        )
    facts = ScoreFacts(
        run_id=written.run_id,
        status=PUBLISHED if run.show else STORED,
        as_of=instant.isoformat(),
        known_at=known_at.isoformat(timespec="microseconds"),
        model=model.version,
        users=written.users,
        videos=len(candidates.video_id),
        arms=None if experiment is None else {name: len(own.user_id) for name, own in of_arms},
        rows=written.rows,
        rows_by_source=dict(sorted(counts.items())),
        **{f"{one.kind}_rows": one.rows for one in written.shared},
        seconds=stages.seconds(),
        database=masked(url),
        remarks=tuple(remarks) or None,
    )
    return SCORE.done((*read, model.folder), (masked(url),), facts)


def experiment_json(experiment: ExperimentSettings, arms: Sequence[Arm]) -> str:
    """An experiment as JSON with its models' versions; stored with a run, for a replay with the same arms."""
    said = experiment.model_dump(mode="json")
    for arm in arms:
        said["arms"][arm.name]["model"] = arm.model.version
    return json.dumps(said, ensure_ascii=False)


def _counted(blocks: Iterable[Lists], counts: Counter[str], users: int) -> Iterator[Lists]:
    """The same blocks; counts rows by source and shows the progress."""
    with progress("score", total=users) as advance:
        for block in blocks:
            counts.update(block.source.tolist())
            yield block
            advance(len(np.unique(block.user_id)))


class _Stopwatch:
    """Seconds of each stage, from its beginning to that of the next."""

    def __init__(self) -> None:
        self._begun: list[tuple[str, float]] = []

    def begin(self, stage: str) -> None:
        self._begun.append((stage, time.monotonic()))

    def seconds(self) -> dict[str, float]:
        """Seconds by stage; the last one lasts until now."""
        ends = [begun for _, begun in self._begun[1:]] + [time.monotonic()]
        return {stage: round(end - begun, 3) for (stage, begun), end in zip(self._begun, ends, strict=True)}


SCORE: Step[ScoreFacts] = Step(
    name="score",
    does="Score every user's candidates, audit the lists, and publish them.",
    reads=lambda settings: (*list_files(settings), settings.paths.models, settings.paths.registry),
    writes=lambda settings: (masked(database_url(settings)),),
    settings=(*LIST_SETTINGS, "experiments.arms", "experiments.salt"),
    facts=ScoreFacts,
    run=lambda settings, request: score_and_publish(
        settings, as_of=request.as_of, publish=request.publish, force=request.force
    ),
)
