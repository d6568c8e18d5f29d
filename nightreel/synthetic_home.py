"""Put synthetic raw files where real ones would lie, and never over real ones."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nightreel import columns
from nightreel.artefacts import StepResult
from nightreel.errors import InputError
from nightreel.logs import progress
from pipelines.synthesize import synthesize

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


def prepare(folder: Path, request: Request, *, force: bool = False) -> StepResult:
    """Write the seven CSV files and the truth behind them to `folder`.

    Skips where the same request was written before. Raises InputError where `folder` holds raw files that
    were not made here: real data is never replaced.
    """
    mark = folder / MARK
    wanted = asdict(request)
    found = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else None
    if found is None and (folder / columns.BIG_MATRIX_FILE).exists():
        raise InputError(
            f"{folder} holds a {columns.BIG_MATRIX_FILE} that was not made by synthesize.",
            "Name another folder with --out or --home.",
        )
    if found == wanted and not force:
        return StepResult("synthesize", skipped=True, read=(), wrote=(folder,), summary={})
    folder.mkdir(parents=True, exist_ok=True)
    # The mark goes last: without it, half-written files are not taken for a finished data set.
    mark.write_text("{}", encoding="utf-8")
    with progress("synthesize", total=request.interactions) as advance:
        summary = synthesize(
            folder,
            **wanted,
            truth=folder / "truth" / "expected_watch_ratio.parquet",
            on_progress=advance,
        )
    mark.write_text(json.dumps(wanted), encoding="utf-8")
    return StepResult("synthesize", skipped=False, read=(), wrote=(folder,), summary=summary)
