"""A home, opened: what the commands do, with dataframes in and out."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from feature_repo.home import working_on
from feature_repo.sources import place_sources
from nightreel.api.frames import keyed_file, plays_file
from nightreel.api.steps import every_step
from nightreel.core import columns, logs
from nightreel.core.errors import InputError
from nightreel.core.extras import require_extras
from nightreel.core.settings import Settings, require_home, settings_of_home
from nightreel.operations.incoming import merge_deliveries
from pipelines.evaluate import evaluate
from pipelines.ingest import ingest
from pipelines.ingest.raw_files import INCOMING
from scoring.backtest import backtest
from scoring.database.show import lists_of_users
from scoring.database.show_shared import popular_of_segments, related_of_videos
from scoring.explain import Explanation, explain

UserId = int | str
ItemId = int | str


class Home:
    """One home: a folder, or a URL of one, with its settings, data, models and lists.

    Settings are read anew for each call, as the commands read them: from the home's nightreel.toml and the
    environment. Errors are those of `nightreel.core.errors`, a line each that says what to do.
    """

    def __init__(self, folder: str | Path, *, create: bool = False, environment: bool = True) -> None:
        """Open a home. Raises InputError where there is no such folder.

        create: make it where it is missing. environment: whether NIGHTREEL_* variables count, as they do for
        the commands.
        """
        self._folder, self._environment = folder, environment
        settings = self.settings
        if create:
            settings.home.mkdir(parents=True, exist_ok=True)
        require_home(settings)
        logs.configure()

    @property
    def settings(self) -> Settings:
        """The settings in force now."""
        return settings_of_home(self._folder, environment=self._environment)

    @property
    def path(self) -> Path:
        """Where everything of this home lies."""
        return self.settings.home

    def __repr__(self) -> str:
        return f"nightreel.open({str(self._folder)!r})"

    def ingest(self, plays: Any = None, *, users: Any = None, items: Any = None) -> dict[str, Any]:
        """Deliver frames, as files dropped in `incoming/` are, and check and merge them; returns the summary.

        plays: user_id, item_id (or video_id) and timestamp, and what docs/python.md lists besides. users:
        user_id and columns of `user_features`. items: item_id and columns of `kuairec_caption_category`.
        Without frames, what lies in raw_dir is read. Raises InputError where a frame cannot be read as that;
        then nothing of it is kept.
        """
        frames = {}
        if plays is not None:
            frames[columns.BIG_MATRIX_FILE] = plays_file(plays)
        if users is not None:
            frames[columns.USER_FEATURES_FILE] = keyed_file(users, columns.USER_ID)
        if items is not None:
            frames[columns.CAPTION_FILE] = keyed_file(items, columns.VIDEO_ID)
        with self._working(writes=True) as settings:
            if frames:
                _deliver(settings, frames)
            return ingest(settings).summary

    def run(
        self, *, as_of: datetime | None = None, publish: bool = False, force: bool = False
    ) -> dict[str, dict[str, Any]]:
        """Do all steps of `nightreel run`; what has not changed is skipped. Returns each step's summary.

        as_of, publish, force: as the options of the command.
        """
        with self._working(writes=True) as settings:
            require_extras(settings)
            found: dict[str, dict[str, Any]] = {}
            for _, step in every_step(settings, as_of=as_of, publish=publish, force=force):
                result = step()
                found[result.step] = {"skipped": result.skipped, **result.summary}
            return found

    def lists(self, user_ids: Sequence[UserId] | None = None, *, run_id: int | None = None) -> pl.DataFrame:
        """The lists of these users, or of all, by user and rank; a user without a list has no rows.

        run_id: a run that is kept, by default the one that apps read. Columns are those of the table
        `recommendation`. Raises InputError where nothing is published.
        """
        with self._working() as settings:
            return lists_of_users(settings, user_ids, run_id=run_id)

    def related(
        self, video_ids: Sequence[ItemId] | None = None, *, run_id: int | None = None
    ) -> pl.DataFrame:
        """The videos related to these, or to all, by video and rank; one without any has no rows.

        run_id: as in `lists`. Columns are those of the table `related_recommendation`. Raises InputError
        where nothing is published, or the run has no such lists (setting [lists] related_k).
        """
        with self._working() as settings:
            return related_of_videos(settings, video_ids, run_id=run_id)

    def popular(self, *, run_id: int | None = None) -> pl.DataFrame:
        """What is popular for all (segment `overall`) and for each value of the segments, by rank.

        run_id: as in `lists`. Columns are those of the table `popular_recommendation`. Raises InputError
        where nothing is published, or the run has no such lists (setting [lists] popular_k).
        """
        with self._working() as settings:
            return popular_of_segments(settings, run_id=run_id)

    def evaluate(self, *, force: bool = False) -> pl.DataFrame:
        """Judge the lists of the last days and the models: a row a figure, as in metrics.json."""
        with self._working(writes=True) as settings:
            backtest(settings, force=force)
            evaluate(settings, force=force)
            return pl.read_json(settings.paths.evaluation / "metrics.json", infer_schema_length=None)

    def explain(self, user_id: UserId, item_id: ItemId, *, run_id: int | None = None) -> Explanation:
        """Why the item is in the user's list, or why it is not."""
        with self._working() as settings:
            return explain(settings, user_id, item_id, run_id=run_id)

    @contextmanager
    def _working(self, *, writes: bool = False) -> Iterator[Settings]:
        """Feast works on this home until the block ends; a home behind a URL is fetched, and sent back."""
        settings = self.settings
        is_remote = settings.home_url is not None or settings.data.raw_url is not None
        if is_remote:
            from nightreel.core.mirror import fetch

            fetch(settings)
            settings = self.settings
        with working_on(settings):
            place_sources(settings.paths)
            yield settings
        if is_remote and writes:
            from nightreel.core.mirror import send

            send(settings)


def open_home(folder: str | Path, *, create: bool = False) -> Home:
    """The home in a folder or at a URL. create: make the folder where it is missing."""
    return Home(folder, create=create)


def _deliver(settings: Settings, frames: Mapping[str, pl.DataFrame]) -> None:
    folder = settings.data.raw_dir / INCOMING
    folder.mkdir(parents=True, exist_ok=True)
    delivered = uuid.uuid4().hex
    for name, frame in frames.items():
        path = folder / f"{Path(name).stem}-{delivered}.parquet"
        # A name that begins with a dot is a file that is not yet whole.
        hidden = path.with_name(f".{path.name}")
        frame.write_parquet(hidden)
        hidden.rename(path)
    result = merge_deliveries(settings)
    refused = [line for line in result.facts.remarks or () if delivered in line]
    if refused:
        raise InputError(
            f"What was delivered cannot be read: {'; '.join(refused)}",
            f"Correct the frame; what was refused lies in {folder}.",
        )
