"""Lists from dataframes alone: a home in a temporary folder, which is removed with the object."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import polars as pl
import tomlkit

from nightreel.api.frames import keyed_file
from nightreel.api.home import Home, UserId
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import SETTINGS_FILE, Settings
from nightreel.core.settings.names import expanded, flattened
from nightreel.core.settings.sources import is_known
from nightreel.operations.init.proposal import profile_columns
from nightreel.operations.init.sample import sample_of
from pipelines.ingest.raw_files import CAPTIONS, USER_FEATURES

_PROFILES = {"user": (USER_FEATURES, columns.USER_ID), "item": (CAPTIONS, columns.VIDEO_ID)}


class Fitted:
    """The result of `fit`; also a context manager, which calls `close` at its end.

    Attributes:
        home: the temporary home, for whatever `Fitted` itself does not offer.
    """

    def __init__(self, home: Home, folder: "TemporaryDirectory[str]") -> None:
        self.home, self._folder = home, folder

    def recommend(self, user_ids: Sequence[UserId] | None = None, k: int = 10) -> pl.DataFrame:
        """The first `k` videos of each user's list.

        Args:
            user_ids: the users asked for, by default all.
            k: list length, from 1 to the setting `lists.top_k`.

        Returns:
            user_id, rank (from 1), video_id, score, by user and rank. Users absent from the frames have no
            rows.

        Raises:
            InputError: k is more than top_k.
        """
        most = self.home.settings.lists.top_k
        if not 1 <= k <= most:
            raise InputError(
                f"k = {k}: lists have 1 to {most} rows.", "Give fit settings={'lists.top_k': ...}."
            )
        rows = self.home.lists(user_ids).filter(pl.col(columns.RANK) <= k)
        return rows.select(columns.USER_ID, columns.RANK, columns.VIDEO_ID, columns.SCORE)

    def close(self) -> None:
        """Remove the temporary home."""
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def fit(
    plays: Any, *, users: Any = None, items: Any = None, settings: Mapping[str, Any] | None = None
) -> Fitted:
    """Train on dataframes, and make every user's list as of the end of their last day.

    Args:
        plays: user_id, item_id (or video_id) and timestamp, as `Home.ingest` takes them.
        users: user_id and columns of `user_features`, or any others: these become features, of the types that
            `nightreel init` proposes, or that the setting `data.user_columns` declares.
        items: item_id and columns of `kuairec_caption_category`, or any others, likewise.
        settings: by name, like {"lists.top_k": 20}, or as tables, like {"lists": {"top_k": 20}}.
            NIGHTREEL_* variables of the environment are ignored.

    Raises:
        InputError: a frame or a setting cannot be used.
    """
    folder = TemporaryDirectory(prefix="nightreel-", ignore_cleanup_errors=True)
    try:
        chosen = flattened(settings or {}, Settings)
        unknown = sorted(name for name in chosen if not is_known(name, Settings))
        if unknown:
            raise InputError(f"{', '.join(unknown)}: no such setting.", "docs/settings.md lists them all.")
        profiles = {"user": users, "item": items}
        for of, frame in profiles.items():
            if frame is not None and (declared := _declared(frame, of, Path(folder.name))):
                chosen = declared | chosen
                profiles[of] = None
        (Path(folder.name) / SETTINGS_FILE).write_text(tomlkit.dumps(expanded(chosen)), encoding="utf-8")
        home = Home(folder.name, environment=False)
        home.ingest(plays, users=profiles["user"], items=profiles["item"])
        home.run()
    except BaseException:
        folder.cleanup()
        raise
    return Fitted(home, folder)


def _declared(frame: Any, of: str, folder: Path) -> dict[str, Any]:
    """The settings that read a frame of users or items with columns of its own; empty if it has none.

    Args:
        of: "user" or "item".
        folder: the frame is written there.
    """
    file, key = _PROFILES[of]
    table = keyed_file(frame, key)
    if set(table.columns) <= {column.name for column in file.columns}:
        return {}
    path = folder / f"{of}s.parquet"
    table.write_parquet(path)
    types = profile_columns(sample_of(str(path)), key, of_items=of == "item")
    return {f"data.{of}s": {"path": str(path), "id": key}, f"data.{of}_columns": types}
