"""Lists from dataframes alone: a home in a temporary folder, which goes when the object does."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import polars as pl

from nightreel.api.home import Home, UserId
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import SETTINGS_FILE, Settings


class Fitted:
    """What `fit` returns. home: the temporary home, for everything else; `close` removes it."""

    def __init__(self, home: Home, folder: "TemporaryDirectory[str]") -> None:
        self.home, self._folder = home, folder

    def recommend(self, user_ids: Sequence[UserId] | None = None, k: int = 10) -> pl.DataFrame:
        """The first k of each user's list: user_id, rank, video_id, score; of all users by default.

        A user of whom the frames say nothing has no rows. Raises InputError where k is more than top_k.
        """
        most = self.home.settings.top_k
        if not 1 <= k <= most:
            raise InputError(f"k = {k}: lists have 1 to {most} rows.", "Give fit settings={'top_k': ...}.")
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
    """Learn from frames, and make every user's list as of the end of their last day.

    plays, users, items: as `Home.ingest` takes them. settings: by name, as nightreel.toml has them; the
    environment's do not count. Raises InputError for a frame or a setting that cannot be used.
    """
    folder = TemporaryDirectory(prefix="nightreel-", ignore_cleanup_errors=True)
    try:
        chosen = dict(settings or {})
        unknown = sorted(set(chosen) - set(Settings.model_fields))
        if unknown:
            raise InputError(f"{', '.join(unknown)}: no such setting.", "docs/settings.md lists them all.")
        # JSON's words for texts, numbers, truth and lists are TOML's.
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in chosen.items()]
        (Path(folder.name) / SETTINGS_FILE).write_text("".join(lines), encoding="utf-8")
        home = Home(folder.name, environment=False)
        home.ingest(plays, users=users, items=items)
        home.run()
    except BaseException:
        folder.cleanup()
        raise
    return Fitted(home, folder)
