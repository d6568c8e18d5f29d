"""A recommender that runs under another Python, for libraries that cannot be installed beside nightreel."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError

_LIMIT_S = 3600
_SAID_MAX = 300  # characters of its standard error that are shown, from the end


class OtherPython:
    """A Recommender that another interpreter runs in a process of its own."""

    def __init__(self, python: str | Path, script: str | Path) -> None:
        """Take the interpreter and the script that it runs.

        The script gets four arguments: a CSV file of plays, with the columns that `fit` gets; a CSV file of
        user_id; how many videos to recommend to each; and the CSV file to write user_id, video_id, score to.
        """
        self._python, self._script = str(python), str(script)
        self._folder: TemporaryDirectory[str] | None = None

    def fit(self, plays: pl.DataFrame) -> None:
        """Keep the plays for the script."""
        self._folder = TemporaryDirectory(prefix="nightreel-")
        plays.write_csv(self._file("plays"))

    def recommend(self, user_ids: np.ndarray, k: int) -> pl.DataFrame:
        """What the script wrote. Raises InputError, with the end of its output, if it fails."""
        assert self._folder is not None, "fit comes first"
        with self._folder:
            return self._recommended(user_ids, k)

    def _recommended(self, user_ids: np.ndarray, k: int) -> pl.DataFrame:
        pl.DataFrame({columns.USER_ID: user_ids}).write_csv(self._file("users"))
        lists = self._file("lists")
        files = [self._file("plays"), self._file("users"), str(k), lists]
        command = [self._python, self._script, *map(str, files)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{self._script}: {error}.", "Name an interpreter that exists.") from None
        if done.returncode or not lists.is_file():
            said = " ".join(done.stderr.split())[-_SAID_MAX:]
            raise InputError(
                f"{self._script}: it ended with {done.returncode} and has written "
                f"{'a' if lists.is_file() else 'no'} list; it said: {said or 'nothing'}.",
                f"Run it by hand under {self._python}.",
            )
        return pl.read_csv(lists)

    def _file(self, name: str) -> Path:
        assert self._folder is not None, "fit comes first"
        return Path(self._folder.name) / f"{name}.csv"
