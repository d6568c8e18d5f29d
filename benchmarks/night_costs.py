"""What do ingest, features and materialize of a night cost after few nights, and after many?

Nights are made alike, so that what one costs depends on nothing but the nights before it: the log's plays, in
order of time, are cut into days of equally many, and each day has a record of every video of the log's last
day. All days before a night arrive in one delivery that is not measured, the night's own day in the next
one, which is: CPU seconds and peak memory of each step, each in a process of its own. What such a process
takes to start is measured once, and is in each of the figures.
"""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measured_process import machine, run_measured

_DAILY = "item_daily_features"
_PLAYS = "big_matrix"
_NIGHTS = 63
_FIRST_DAY = date(2020, 7, 5)
_DAY_S = 86_400
_UTC_OFFSET_S = 28_800  # of Shanghai
_START, _START_OF_FEAST = "start", "start of Feast"
_STEPS = {
    _START: "import nightreel.operations.incoming, pipelines.ingest, pipelines.features",
    _START_OF_FEAST: "import nightreel.operations.materialize",
    "feast apply": "from feature_repo.open_store import apply_definitions; apply_definitions(settings)",
    "materialize": "from nightreel.operations.materialize import MATERIALIZE; "
    "from nightreel.core.steps import Request; MATERIALIZE.run(settings, Request())",
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
    materialize_cpu_s: float
    materialize_mib: int
    als_fits: int


def measure_nights(raw: Path, home: Path, nights: Sequence[int]) -> dict[str, Any]:
    """Measure these nights, of a log of fewer days its last, on the files of a raw folder.

    Args:
        home: a folder that is made anew.
    """
    shutil.rmtree(home, ignore_errors=True)
    days = _alike(raw, home / "days")
    _begin(raw, home / "raw", home / "days", days[0])
    _night(home)
    _step("feast apply", home)
    _step("materialize", home)
    found, arrived = [], 1
    for night in sorted({min(night, len(days)) for night in nights}):
        before = days[arrived : night - 1]
        if before:
            _deliver(home, before)
            _night(home)
            _step("materialize", home)
        _deliver(home, [days[night - 1]])
        ingest, features = _night(home)
        materialize = _step("materialize", home)
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
                materialize_cpu_s=round(materialize[0], 2),
                materialize_mib=materialize[1],
                als_fits=json.loads((home / "data/state/factors.json").read_text())["summary"]["als_refits"],
            )
        )
        print(found[-1], flush=True)
    start, of_feast = (round(_step(step, home)[0], 2) for step in (_START, _START_OF_FEAST))
    print(f"to start a process: {start} s, with Feast {of_feast} s")
    return {
        "machine": machine("polars"),
        "start_cpu_s": start,
        "start_of_feast_cpu_s": of_feast,
        "rows": [asdict(one) for one in found],
    }


def _night(home: Path) -> tuple[tuple[float, int], tuple[float, int]]:
    return _step("ingest", home), _step("features", home)


def _alike(raw: Path, folder: Path) -> list[str]:
    """Write a file of each day's plays and one of its records; returns the days, ascending."""
    folder.mkdir(parents=True)
    days = [f"{_FIRST_DAY + timedelta(days=night):%Y%m%d}" for night in range(_NIGHTS)]
    seconds = pl.col("timestamp").cast(pl.Float64)
    plays = pl.read_csv(raw / f"{_PLAYS}.csv", infer_schema=False).drop("time").sort(seconds)
    night = pl.int_range(pl.len()) * _NIGHTS // pl.len()
    begin_s = (_FIRST_DAY - date(1970, 1, 1)).days * _DAY_S - _UTC_OFFSET_S
    # Each play keeps its time of the day.
    instant = begin_s + night * _DAY_S + (seconds + _UTC_OFFSET_S) % _DAY_S
    plays = plays.with_columns(pl.lit(pl.Series(days)).gather(night).alias("date"), timestamp=instant)
    for (day,), part in plays.partition_by("date", as_dict=True).items():
        part.write_csv(folder / f"{_PLAYS}-{day}.csv")
    records = pl.read_csv(raw / f"{_DAILY}.csv", infer_schema=False).sort("date")
    videos = records.filter(pl.col("date") == pl.col("date").max()).select("video_id")
    for day in days:
        # The video's record of this day, or its first one.
        known = records.filter(pl.col("date") <= day).unique("video_id", keep="last")
        of_day = pl.concat([known, records]).unique("video_id", keep="first", maintain_order=True)
        own = of_day.join(videos, on="video_id", how="semi").with_columns(pl.lit(day).alias("date"))
        own.write_csv(folder / f"{_DAILY}-{day}.csv")
    return days


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
