"""What do ingest and features of a night cost after few nights, and after many?

The log is cut by its days. All days before a night arrive in one delivery that is not measured, the night's
own day in the next one, which is: CPU seconds and peak memory of `ingest` and of `features`, each in a
process of its own. What such a process takes to start is measured once, and is in each of the figures.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measured_process import machine, run_measured

_DAILY = "item_daily_features"
_PLAYS = "big_matrix"
_START = "start"
_STEPS = {
    _START: "import nightreel.operations.incoming, pipelines.ingest, pipelines.features",
    "ingest": "from nightreel.operations.incoming import merge_deliveries as take; "
    "from pipelines.ingest import ingest; take(settings); ingest(settings)",
    "features": "from pipelines.features import build_features; build_features(settings)",
}
_TIMEOUT_S = 3_600.0
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Night:
    """A night: the plays before it and its own, what its steps took, and the ALS fits that were due in it."""

    night: int
    plays_before: int
    plays: int
    ingest_cpu_s: float
    ingest_mib: int
    features_cpu_s: float
    features_mib: int
    als_fits: int


def measure_nights(raw: Path, home: Path, nights: Sequence[int]) -> dict[str, Any]:
    """Measure these nights, of a log of fewer days its last, on the files of a raw folder.

    Args:
        home: a folder that is made anew.
    """
    shutil.rmtree(home, ignore_errors=True)
    days = _days(raw, home / "days")
    _begin(raw, home / "raw", home / "days", days[0])
    _step("ingest", home)
    _step("features", home)
    found, arrived = [], 1
    for night in sorted({min(night, len(days)) for night in nights}):
        before = days[arrived : night - 1]
        if before:
            _deliver(home, before)
            _step("ingest", home)
            _step("features", home)
        _deliver(home, [days[night - 1]])
        ingest, features = _step("ingest", home), _step("features", home)
        arrived = night
        rows = [_rows(home / "days" / f"{_PLAYS}-{day}.csv") for day in days[:night]]
        found.append(
            Night(
                night=night,
                plays_before=sum(rows[:-1]),
                plays=rows[-1],
                ingest_cpu_s=round(ingest[0], 2),
                ingest_mib=ingest[1],
                features_cpu_s=round(features[0], 2),
                features_mib=features[1],
                als_fits=json.loads((home / "data/state/factors.json").read_text())["summary"]["als_refits"],
            )
        )
        print(found[-1], flush=True)
    start = round(_step(_START, home)[0], 2)
    print(f"to start a process: {start} s")
    return {"machine": machine("polars"), "start_cpu_s": start, "rows": [asdict(one) for one in found]}


def _days(raw: Path, folder: Path) -> list[str]:
    """Write a file of each day's plays and of its records; returns the days with plays, ascending."""
    folder.mkdir(parents=True)
    days: set[str] = set()
    for name in (_PLAYS, _DAILY):
        rows = pl.scan_csv(raw / f"{name}.csv", infer_schema=False).collect()
        for (day,), part in rows.partition_by("date", as_dict=True).items():
            part.write_csv(folder / f"{name}-{day}.csv")
            if name == _PLAYS:
                days.add(str(day))
    return sorted(days)


def _begin(raw: Path, first: Path, folder: Path, day: str) -> None:
    """The raw files of a home that knows one day."""
    first.mkdir(parents=True)
    for path in raw.glob("*.csv"):
        if path.stem not in (_PLAYS, _DAILY):
            os.link(path, first / path.name)
    shutil.copyfile(folder / f"{_PLAYS}-{day}.csv", first / f"{_PLAYS}.csv")
    shutil.copyfile(folder / f"{_DAILY}-{day}.csv", first / f"{_DAILY}.csv")


def _deliver(home: Path, days: Sequence[str]) -> None:
    incoming = home / "raw" / "incoming"
    incoming.mkdir(exist_ok=True)
    for name in (_PLAYS, _DAILY):
        parts = [home / "days" / f"{name}-{day}.csv" for day in days]
        rows = [pl.read_csv(path, infer_schema=False) for path in parts if path.is_file()]
        if rows:
            pl.concat(rows).write_csv(incoming / f"{name}-{days[-1]}.csv")


def _step(step: str, home: Path) -> tuple[float, int]:
    """CPU seconds and peak MiB of a step in a process of its own."""
    code = f"from nightreel.core.settings import load_settings; settings = load_settings(); {_STEPS[step]}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    environment = kept | {"NIGHTREEL_HOME": str(home), "NIGHTREEL_DATA_RAW_DIR": str(home / "raw")}
    measured = run_measured([sys.executable, "-c", code], timeout_s=_TIMEOUT_S, environment=environment)
    if measured.output is None:
        raise SystemExit(f"{step}: {measured.error}")
    return measured.cpu_seconds, round(measured.peak_bytes / _MEBIBYTE)


def _rows(path: Path) -> int:
    return pl.scan_csv(path, infer_schema=False).select(pl.len()).collect().item() if path.is_file() else 0
