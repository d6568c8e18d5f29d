"""A home, opened: what the commands do, with dataframes in and out."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from feature_repo.home import working_on
from feature_repo.sources import point_sources_at
from nightreel.api.frames import keyed_file, plays_file
from nightreel.api.steps import every_step
from nightreel.core import columns, logs
from nightreel.core.errors import InputError
from nightreel.core.extras import require_extras
from nightreel.core.settings import Settings, require_home, settings_of_home
from nightreel.core.settings.needs import LogNeeds
from nightreel.operations.incoming import REPAIR, merge_deliveries
from nightreel.operations.sequence import JUDGEMENT
from pipelines.ingest import ingest
from pipelines.ingest.deliveries import QUARANTINE
from pipelines.ingest.raw_files import INCOMING
from scoring.database.show import lists_of_users
from scoring.database.show_shared import popular_of_segments, related_of_videos
from scoring.explain import Explanation, explain

UserId = int | str | uuid.UUID
ItemId = int | str | uuid.UUID


class Home:
    """One home, a folder or a URL, with its settings, data, models and lists.

    Settings are read again for each call, from the home's nightreel.toml and the environment, as the commands
    do. Errors are those of `nightreel.core.errors`: one line that includes the remedy.
    """

    def __init__(self, folder: str | Path, *, create: bool = False, environment: bool = True) -> None:
        """Open a home.

        Args:
            folder: a path or a URL.
            create: whether to make the folder if it is missing.
            environment: whether NIGHTREEL_* variables count, as they do for the commands.

        Raises:
            InputError: there is no such folder.
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
        """The folder that holds everything of this home."""
        return self.settings.home

    def __repr__(self) -> str:
        return f"nightreel.open({str(self._folder)!r})"

    def ingest(self, plays: Any = None, *, users: Any = None, items: Any = None) -> dict[str, Any]:
        """Deliver frames as if they were files in `incoming/`: check them and merge them into the tables.

        Args:
            plays: user_id, item_id (or video_id), timestamp and the optional columns of docs/python.md.
            users: user_id and columns of `user_features`.
            items: item_id and columns of `kuairec_caption_category`.
                Without any frame, the files in raw_dir are read.

        Returns:
            The summary of the step `ingest`.

        Raises:
            InputError: a frame cannot be read; then none of it is kept.
        """
        frames = {}
        value = None
        if plays is not None:
            frames[columns.BIG_MATRIX_FILE], value = plays_file(plays)
        if users is not None:
            frames[columns.USER_FEATURES_FILE] = keyed_file(users, columns.USER_ID)
        if items is not None:
            frames[columns.CAPTION_FILE] = keyed_file(items, columns.VIDEO_ID)
        with self._working(writes=True) as settings:
            if frames:
                _deliver(settings, frames, value)
            return ingest(settings).summary

    def run(
        self, *, as_of: datetime | None = None, publish: bool = False, force: bool = False
    ) -> dict[str, dict[str, Any]]:
        """Run every step of `nightreel run`; a step whose inputs have not changed is skipped.

        Args:
            as_of: the lists' instant, with a time zone; by default the end of the log's last day.
            publish: whether to publish lists of a past instant, too.
            force: whether to run steps whose inputs have not changed.

        Returns:
            Each step's summary by its name, with `skipped`.
        """
        with self._working(writes=True) as settings:
            require_extras(settings)
            found: dict[str, dict[str, Any]] = {}
            for _, step in every_step(settings, as_of=as_of, publish=publish, force=force):
                result = step()
                found[result.step] = {"skipped": result.skipped, **result.summary}
            return found

    def lists(self, user_ids: Sequence[UserId] | None = None, *, run_id: int | None = None) -> pl.DataFrame:
        """The stored lists of users.

        Args:
            user_ids: the users asked for, by default all.
            run_id: a run whose lists are kept, by default the one that apps read.

        Returns:
            Columns of the table `recommendation`, by user and rank; a user without a list has no rows.

        Raises:
            InputError: nothing is published, or the run has no lists.
        """
        with self._working() as settings:
            return lists_of_users(settings, _plain_ids(user_ids), run_id=run_id)

    def related(
        self, video_ids: Sequence[ItemId] | None = None, *, run_id: int | None = None
    ) -> pl.DataFrame:
        """The stored lists of videos related to a video.

        Args:
            video_ids: the videos asked for, by default all.
            run_id: a run whose lists are kept, by default the one that apps read.

        Returns:
            Columns of the table `related_recommendation`, by video and rank; videos without a list have no
            rows.

        Raises:
            InputError: nothing is published, or the run has no such lists (setting [lists.shared] related_k).
        """
        with self._working() as settings:
            return related_of_videos(settings, _plain_ids(video_ids), run_id=run_id)

    def popular(self, *, run_id: int | None = None) -> pl.DataFrame:
        """The stored popular videos: for all users (segment `overall`) and for each value of a segment.

        Args:
            run_id: a run whose lists are kept, by default the one that apps read.

        Returns:
            Columns of the table `popular_recommendation`, by segment, value and rank.

        Raises:
            InputError: nothing is published, or the run has no such lists (setting [lists.shared] popular_k).
        """
        with self._working() as settings:
            return popular_of_segments(settings, run_id=run_id)

    def evaluate(self, *, force: bool = False) -> pl.DataFrame:
        """Backtest the lists of the last days and evaluate the models.

        Returns:
            One row per figure of metrics.json: protocol, system, metric, k, slice, value, low, high.
        """
        with self._working(writes=True) as settings:
            for _, step in every_step(settings, JUDGEMENT, force=force):
                step()
            return pl.read_json(settings.paths.evaluation / "metrics.json", infer_schema_length=None)

    def explain(self, user_id: UserId, item_id: ItemId, *, run_id: int | None = None) -> Explanation:
        """Why the item is in the user's list, or why it is not; see `scoring.explain.explain`."""
        with self._working() as settings:
            return explain(settings, _plain(user_id), _plain(item_id), run_id=run_id)

    @contextmanager
    def _working(self, *, writes: bool = False) -> Iterator[Settings]:
        """Feast works on this home until the block ends; a home behind a URL is fetched, and sent back."""
        settings = self.settings
        is_remote = settings.home_url is not None or settings.data.raw_url is not None
        with ExitStack() as stack:
            lease = None
            if is_remote:
                from nightreel.core.lease import exclusive_home
                from nightreel.core.mirror import fetch

                lease = stack.enter_context(exclusive_home(settings)) if writes else None
                fetch(settings)
                settings = self.settings
            with working_on(settings):
                point_sources_at(settings.paths)
                yield settings
            if is_remote and writes:
                from nightreel.core.mirror import send

                send(settings, lease)


def open_home(folder: str | Path, *, create: bool = False) -> Home:
    """Open the home in a folder or at a URL; with `create`, make the folder if it is missing."""
    return Home(folder, create=create)


def _plain_ids(ids: Sequence[UserId] | None) -> list[int | str] | None:
    return None if ids is None else [_plain(one) for one in ids]


def _plain(one: UserId) -> int | str:
    """An id as tables have it: a UUID as text, a number of NumPy's as Python's."""
    return str(one) if isinstance(one, str | uuid.UUID) else int(one)


def _deliver(settings: LogNeeds, frames: Mapping[str, pl.DataFrame], value: str | None) -> None:
    """Merge frames as files in `incoming/`.

    Args:
        value: the column of the plays' frame that holds each play's value.

    Raises:
        InputError: a frame cannot be read, or has too many bad rows.
    """
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
    # A file whose rows are mostly good is merged; its other rows are in the rejects.
    if any((folder / QUARANTINE).glob(f"*{delivered}*")):
        remarks = [_of_frame(line, value) for line in result.facts.remarks or () if delivered in line]
        refused = "; ".join(remarks)
        raise InputError(f"What was delivered cannot be read: {refused}")


def _of_frame(remark: str, value: str | None) -> str:
    """A remark about a delivered file, reworded for the frame that was delivered."""
    said = remark.partition(" was quarantined: ")[2] or remark
    said = said.replace(REPAIR, "Correct the frame, or raise [data] max_reject_share.")
    said = said.replace("; line ", "; row ")
    return said if value is None else said.replace(f"column {columns.PLAY_DURATION}:", f"column {value}:")
