"""Write synthetic raw files where real ones would be, but never over real ones."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.disk import full_disk_named
from nightreel.core.errors import InputError
from nightreel.core.logs import progress
from nightreel.core.steps import Facts, StepResult
from synthetic import synthesize

MARK = "synthetic.json"


@dataclass(frozen=True)
class Request:
    """The size of a synthetic data set; the same request gives the same files."""

    users: int
    videos: int
    interactions: int
    days: int
    seed: int


DEMO = Request(users=800, videos=1_600, interactions=250_000, days=63, seed=20200705)


class SynthesizeFacts(Facts):
    """Number of rows by file name; empty if nothing was written."""

    rows_of_files: Mapping[str, int]

    def printed(self) -> dict[str, Any]:
        """Each file's number of rows under its name."""
        return dict(self.rows_of_files)


def prepare(folder: Path, request: Request, *, force: bool = False) -> StepResult[SynthesizeFacts]:
    """Write the seven CSV files and the truth behind them to `folder`; skipped if the request is unchanged.

    Raises:
        InputError: `folder` holds raw files that were not generated: real data is never replaced.
    """
    mark = folder / MARK
    asked = asdict(request)
    found = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else None
    if found is None and (folder / columns.BIG_MATRIX_FILE).exists():
        raise InputError(
            f"{folder} holds a {columns.BIG_MATRIX_FILE} that was not made by synthesize.",
            "Name another folder with --out or --home.",
        )
    if found == asked and not force:
        return StepResult("synthesize", True, (), (folder,), SynthesizeFacts(rows_of_files={}))
    with full_disk_named(folder):
        return _make(folder, asked, request)


def _make(folder: Path, asked: dict[str, int], request: Request) -> StepResult[SynthesizeFacts]:
    mark = folder / MARK
    # The mark goes last: without it, half-written files are not taken for a finished data set.
    _write_mark(mark, {})
    with progress("synthesize", total=request.interactions) as advance:
        rows = synthesize(
            folder,
            **asked,
            truth=folder / "truth" / "expected_watch_ratio.parquet",
            on_progress=advance,
        )
    _write_mark(mark, asked)
    return StepResult("synthesize", False, (), (folder,), SynthesizeFacts(rows_of_files=rows))


def _write_mark(mark: Path, content: Mapping[str, int]) -> None:
    with atomic_write(mark) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
