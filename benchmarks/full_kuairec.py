"""How long does the whole of KuaiRec take, and how much memory, from raw files to the published table?

Makes a synthetic KuaiRec once, then runs each step in a process of its own and prints a table: seconds, CPU
seconds, peak memory of the process tree, rows. --night-two cuts the last day off for the first night and runs
what a night runs again with it, step by step: there the raw files have grown. --night runs the nightly job as
the scheduler does, in one process and without training: there the last day is a delivery. --next-night runs
it on the home of an earlier run, where nothing is trained and no raw file is copied: the delivery is one more
day, on which each user plays what another played on the last day. --nights measures ingest and features of
these nights, each day a delivery (benchmarks/night_costs.py); --plain runs the usual pandas script on the
same files and compares the ranking of small_matrix. Several scales are run one after the other, and a table
of seconds and memory by rows follows, with the exponent by which CPU seconds grow with plays. Up to 1 a scale
is of users and plays; beyond, videos grow too, to 40,000 at ten times; small_matrix stays KuaiRec's. Memory
is a sum of resident sizes, so a page that two processes share counts twice.

    python benchmarks/full_kuairec.py                          # KuaiRec's own size
    python benchmarks/full_kuairec.py --scale 0.25 --plain     # a quarter of users and rows, beside pandas
    python benchmarks/full_kuairec.py --scale 0.25 0.5 1 2     # what grows with users and rows
    python benchmarks/full_kuairec.py --scale 1 10 --compare   # that table, from earlier results
    python benchmarks/full_kuairec.py --nights 2 20 40 60      # a night after few and after many
    python benchmarks/full_kuairec.py --night                  # another night, as one job
    python benchmarks/full_kuairec.py --scale 10 --next-night  # a night after an earlier run of this scale
"""

import argparse
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl

from benchmarks.measured_process import machine, run_measured
from benchmarks.night_costs import measure_nights
from nightreel.core.play_days import day_file, rows_of
from nightreel.core.settings import Settings
from pipelines.ingest.raw_files import INCOMING
from pipelines.metrics import RankedLists, ndcg_at_k
from pipelines.rankers.slices import days_of_table
from pipelines.training_frame import are_validation_users

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
USERS, VIDEOS, INTERACTIONS, DAYS = 7_176, 10_728, 12_530_806, 63
SMALL_USERS, SMALL_VIDEOS = 1_411, 3_327
SEED = 20200705
# The command has no option for the size of small_matrix.
_SYNTHESIZE = """
import json, sys
from pathlib import Path
from synthetic import synthesize
synthesize(Path(sys.argv[1]), **json.loads(sys.argv[2]))
"""
# 40,000 videos for ten times the users.
VIDEOS_EXPONENT = 0.5716
WRONG_CLOCK_EVERY = 50_000  # plays, of a delivered day
STEPS = ("ingest", "features", "feast apply", "train", "evaluate", "score")
NIGHTLY = ("ingest", "features", "feast apply", "score")
NIGHT = "night"
TIMEOUT_S = 3_600.0
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Row:
    """One line of the table; rows: of what the step wrote, where that is a table."""

    run: str
    step: str
    seconds: float
    cpu_seconds: float
    peak_mib: float
    rows: int | None
    error: str = ""


def run_step(run: str, step: str, home: Path) -> Row:
    """Run one step of nightreel on this home, in a process of its own."""
    bin_folder = Path(sys.executable).parent
    if step == "feast apply":
        command = [str(bin_folder / "feast"), "-c", str(ROOT / "feature_repo"), "apply"]
    elif step == NIGHT:
        command = [str(bin_folder / "nightreel"), "schedule", "--once"]
    else:
        command = [str(bin_folder / "nightreel"), step]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    environment = kept | {"NIGHTREEL_HOME": str(home)}
    measured = run_measured(command, timeout_s=TIMEOUT_S, environment=environment)
    return Row(
        run=run,
        step=step,
        seconds=round(measured.seconds, 1),
        cpu_seconds=round(measured.cpu_seconds, 1),
        peak_mib=round(measured.peak_bytes / MEBIBYTE),
        rows=_rows_of(step, home) if measured.output is not None else None,
        error=measured.error,
    )


def make_raw(home: Path, scale: float) -> None:
    """A synthetic KuaiRec at this scale of users and rows; nothing to do where it was made before."""
    raw = home / "raw"
    if (raw / "big_matrix.csv").is_file():
        return
    sizes = {
        "users": round(USERS * scale),
        "videos": round(VIDEOS * max(scale, 1.0) ** VIDEOS_EXPONENT),
        "interactions": round(INTERACTIONS * scale),
        "days": DAYS,
        "seed": SEED,
    }
    if scale > 1:
        sizes |= {"small_users": SMALL_USERS, "small_videos": SMALL_VIDEOS}
    made = run_measured([sys.executable, "-c", _SYNTHESIZE, str(raw), json.dumps(sizes)], timeout_s=TIMEOUT_S)
    if made.output is None:
        raise SystemExit(made.error)
    print(
        f"synthesize x {scale:g}: {made.seconds:.0f} s, {made.cpu_seconds:.0f} CPU s, "
        f"{made.peak_bytes / MEBIBYTE:,.0f} MiB"
    )


def without_last_day(raw: Path, folder: Path, last_day: Path) -> None:
    """The raw files as of a day earlier in `folder`; the plays and counts of the last day apart."""
    folder.mkdir(parents=True)
    last_day.mkdir(parents=True)
    for path in raw.glob("*.csv"):
        if path.name not in ("big_matrix.csv", "item_daily_features.csv"):
            os.link(path, folder / path.name)
    for name in ("big_matrix.csv", "item_daily_features.csv"):
        lines = pl.scan_csv(raw / name, infer_schema=False)
        last = lines.select(pl.col("date").max()).collect().item()
        lines.filter(pl.col("date") != last).sink_csv(folder / name)
        lines.filter(pl.col("date") == last).sink_csv(last_day / name, include_header=False)


def add_last_day(last_day: Path, raw: Path) -> None:
    """Append what the last day brought, as a night's delivery does."""
    for path in last_day.iterdir():
        with path.open("rb") as new, (raw / path.name).open("ab") as file:
            shutil.copyfileobj(new, file)


def deliver_last_day(last_day: Path, raw: Path) -> None:
    """Put what the last day brought where deliveries arrive."""
    incoming = raw / INCOMING
    incoming.mkdir(exist_ok=True)
    for path in last_day.iterdir():
        with (raw / path.name).open("rb") as whole, path.open("rb") as new:
            waiting = incoming / f".{path.name}"
            with waiting.open("wb") as file:
                file.write(whole.readline())
                shutil.copyfileobj(new, file)
        waiting.rename(incoming / f"{path.stem}_last_day.csv")


def deliver_next_day(home: Path) -> None:
    """Put one more day where deliveries arrive: the last day's plays and records, a day later.

    Each user of that day plays what another one played, so that most pairs are new. As in the log, the clocks
    of a few plays are up to 12 days early or 4 late, so that earlier days get plays too.
    """
    interactions = home / "data" / "tables" / "interactions"
    last = days_of_table(interactions)[-1]
    day = last + timedelta(days=1)
    plays = pl.read_parquet(day_file(interactions, last), hive_partitioning=False)
    users = plays["user_id"].unique().sort()
    others = users.gather((np.arange(len(users)) + 1) % len(users))
    following = pl.DataFrame({"user_id": users, "other": others})
    row = pl.int_range(pl.len())
    days_off = pl.when(row % WRONG_CLOCK_EVERY == 0).then(row // WRONG_CLOCK_EVERY % 17 - 12).otherwise(0)
    stamp = pl.col("event_timestamp") + pl.duration(days=1 + days_off)
    rows = plays.join(following, on="user_id", how="left", maintain_order="left").select(
        pl.col("other").alias("user_id"),
        "video_id",
        "play_duration",
        "video_duration",
        (stamp.dt.timestamp("us") / 1e6).alias("timestamp"),
        "watch_ratio",
    )
    _deliver(rows, home, f"big_matrix_{day}.csv")
    daily = pl.scan_csv(home / "raw" / "item_daily_features.csv", infer_schema=False)
    of_last = daily.filter(pl.col("date") == daily.select(pl.col("date").max()).collect().item())
    own_day = pl.lit(f"{day:%Y%m%d}").alias("date")
    _deliver(of_last.with_columns(own_day).collect(), home, f"item_daily_features_{day}.csv")


def _deliver(rows: pl.DataFrame, home: Path, name: str) -> None:
    incoming = home / "raw" / INCOMING
    incoming.mkdir(exist_ok=True)
    rows.write_csv(incoming / f".{name}")
    (incoming / f".{name}").rename(incoming / name)


def stages_of_night(home: Path) -> dict[str, float]:
    """Seconds of each stage of the last nightly job."""
    with closing(sqlite3.connect(home / "data" / "nightreel.sqlite")) as connection:
        newest = "SELECT stages FROM job_run ORDER BY started_at DESC LIMIT 1"
        (stages,) = connection.execute(newest).fetchone()
    return {name: facts["seconds"] for name, facts in json.loads(stages).items()}


def plain_pandas(raw: Path, home: Path) -> Row:
    """The usual script on the same files."""
    out = home / "plain_pandas.parquet"
    command = [sys.executable, str(Path(__file__).with_name("plain_pandas.py")), str(raw), str(out)]
    measured = run_measured(command, timeout_s=TIMEOUT_S)
    rows = rows_of([out]) if measured.output is not None else None
    return Row(
        "plain pandas",
        "fit and predict",
        round(measured.seconds, 1),
        round(measured.cpu_seconds, 1),
        round(measured.peak_bytes / MEBIBYTE),
        rows,
        measured.error,
    )


def ranking_quality(home: Path) -> dict[str, float]:
    """NDCG@10 of the pandas script's systems on the users that `evaluate` reports on, ratio label."""
    scores = pl.read_parquet(home / "plain_pandas.parquet")
    records = json.loads((home / "data" / "evaluation" / "metrics.json").read_text(encoding="utf-8"))
    asked = {"protocol": "kuairec", "label": "ratio", "metric": "ndcg", "k": 10, "slice": "all"}
    found = {
        f"nightreel {record['system']}": record["value"]
        for record in records
        if all(record[name] == value for name, value in asked.items())
    }
    scores = scores.filter(
        ~pl.Series(
            are_validation_users(
                scores["user_id"].to_numpy(), (made := Settings(home=home)).evaluation, made.seed
            )
        )
    )
    users, videos, ratio = (scores[name].to_numpy() for name in ("user_id", "video_id", "watch_ratio"))
    for system in ("classifier", "regressor", "hybrid"):
        lists = RankedLists.of(users, videos, scores[system].to_numpy(), ratio > 1.0)
        found[f"plain pandas {system}"] = float(np.mean(ndcg_at_k(lists, 10)))
    return found


def _rows_of(step: str, home: Path) -> int | None:
    data = home / "data"
    if step == "ingest":
        return rows_of((data / "tables").rglob("*.parquet"))
    if step == "features":
        return rows_of((data / "features").glob("*.parquet"))
    if step == "train":
        return rows_of((data / "tables" / "interactions").glob("*/*.parquet"))
    if step == "evaluate":
        return rows_of([data / "tables" / "fully_observed.parquet"])
    if step in ("score", NIGHT):
        with closing(sqlite3.connect(data / "nightreel.sqlite")) as connection:
            return int(connection.execute("SELECT count(*) FROM latest_recommendation").fetchone()[0])
    return None


def _print(rows: list[Row]) -> None:
    print(f"{'run':<14}{'step':<18}{'seconds':>9}{'CPU s':>9}{'peak MiB':>10}{'rows':>13}")
    for row in rows:
        shown = f"{row.rows:,}" if row.rows is not None else "-"
        print(
            f"{row.run:<14}{row.step:<18}{row.seconds:>9.1f}{row.cpu_seconds:>9.1f}{row.peak_mib:>10,.0f}"
            f"{shown:>13}  {row.error}"
        )
    for run in dict.fromkeys(row.run for row in rows):
        own = [row for row in rows if row.run == run]
        print(
            f"{run:<14}{'total':<18}{sum(row.seconds for row in own):>9.1f}"
            f"{sum(row.cpu_seconds for row in own):>9.1f}{max(row.peak_mib for row in own):>10,.0f}"
        )


def print_scales(scales: list[float]) -> None:
    """Each step's seconds and peak MiB by scale, from the results that were written."""
    found = {scale: json.loads(_result(scale).read_text(encoding="utf-8"))["rows"] for scale in scales}
    print(f"{'step':<14}" + "".join(f"{f'x {scale:g}':>22}" for scale in scales) + f"{'exponent':>10}")
    for step in STEPS:
        cells = []
        for scale in scales:
            row = next(row for row in found[scale] if row["step"] == step)
            cells.append(f"{row['seconds']:>9.1f} s{row['peak_mib']:>7,} MiB")
        print(f"{step:<14}" + "".join(f"{cell:>22}" for cell in cells) + f"{exponent(found, step):>10.2f}")


def exponent(found: Mapping[float, list[dict[str, Any]]], step: str) -> float:
    """By which power of the plays a step's CPU seconds grow: the slope of their logarithms."""
    seconds = [next(row for row in rows if row["step"] == step)["cpu_seconds"] for rows in found.values()]
    return float(np.polyfit(np.log(list(found)), np.log(seconds), 1)[0])


def measure(scale: float, home: Path, *, plain: bool, nightly: Sequence[str]) -> None:
    """Measure one scale, print it, and write its result. nightly: steps of a second night, if any."""
    home.mkdir(parents=True, exist_ok=True)
    make_raw(home, scale)
    raw = home / "raw"
    shutil.rmtree(home / "data", ignore_errors=True)
    shutil.rmtree(raw / INCOMING, ignore_errors=True)  # from --next-night
    rows = _two_nights(raw, home, nightly) if nightly else _run("nightreel", home)
    result: dict[str, Any] = {"scale": scale, "machine": machine("polars", "lightgbm", "feast", "pandas")}
    if plain:
        rows.append(plain_pandas(raw, home))
        if not rows[-1].error:
            result["ndcg_at_10"] = ranking_quality(home)
    result["rows"] = [asdict(row) for row in rows]
    _print(rows)
    for system, value in result.get("ndcg_at_10", {}).items():
        print(f"NDCG@10  {system:<36}{value:.4f}")
    RESULTS.mkdir(exist_ok=True)
    kind = "-night" if NIGHT in nightly else "-two-nights" if nightly else "-plain" if plain else ""
    name = _result(scale, kind)
    name.write_text(json.dumps(result, indent=1) + "\n")


def measure_next_night(scale: float, home: Path) -> None:
    """Measure one more night on the home of an earlier run, print it, and write its result."""
    if not (home / "data" / "nightreel.sqlite").is_file():
        raise SystemExit(f"{home}: no lists; run this scale without --next-night first")
    # The first job fills the online store; every later one brings it what is new.
    rows = [run_step("night 1", NIGHT, home)]
    if not rows[0].error:
        deliver_next_day(home)
        rows.append(run_step("night 2", NIGHT, home))
    stages = stages_of_night(home)
    _print(rows)
    for stage, seconds in stages.items():
        print(f"{'':<14}{stage:<18}{seconds:>9.1f}")
    result = {"scale": scale, "machine": machine("polars", "lightgbm", "feast"), "stages": stages}
    result["rows"] = [asdict(row) for row in rows]
    _result(scale, "-next-night").write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Measure each scale, then print and write benchmarks/results/full_kuairec-<scale>.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scale", type=float, nargs="+", default=[1.0], help="shares of KuaiRec's users and rows (1)"
    )
    parser.add_argument("--work", type=Path, help="folder with a home for each scale (benchmarks/work)")
    parser.add_argument(
        "--compare", action="store_true", help="only print the table of these scales, from earlier results"
    )
    parser.add_argument("--plain", action="store_true", help="run the usual pandas script too")
    nights = parser.add_mutually_exclusive_group()
    nights.add_argument("--night-two", action="store_true", help="run a first night without the last day")
    nights.add_argument("--night", action="store_true", help="the same, the second night as one job")
    nights.add_argument("--next-night", action="store_true", help="a night on the home of an earlier run")
    nights.add_argument(
        "--nights", type=int, nargs="+", help="ingest and features of these nights, like 2 30 60"
    )
    chosen = parser.parse_args()
    work: Path = (chosen.work or ROOT / "benchmarks" / "work").resolve()
    if chosen.compare:
        print_scales(chosen.scale)
        return
    nightly = (NIGHT,) if chosen.night else NIGHTLY if chosen.night_two else ()
    for scale in chosen.scale if chosen.nights else ():
        make_raw(work / f"{scale:g}", scale)
        found = measure_nights(work / f"{scale:g}" / "raw", work / f"{scale:g}-nights", chosen.nights)
        _result(scale, "-nights").write_text(json.dumps({"scale": scale, **found}, indent=1) + "\n")
    for scale in chosen.scale if chosen.next_night else ():
        measure_next_night(scale, work / f"{scale:g}")
    if chosen.nights or chosen.next_night:
        return
    for scale in chosen.scale:
        measure(scale, work / f"{scale:g}", plain=chosen.plain, nightly=nightly)
    if len(chosen.scale) > 1 and not nightly:
        print_scales(chosen.scale)


def _result(scale: float, kind: str = "") -> Path:
    return RESULTS / f"full_kuairec-{scale:g}{kind}.json"


def _two_nights(raw: Path, home: Path, nightly: Sequence[str]) -> list[Row]:
    """A first night without the last day, and a second one with it."""
    for name in ("first", "last_day"):
        shutil.rmtree(home / name, ignore_errors=True)
    without_last_day(raw, home / "first", home / "last_day")
    raw.rename(home / "whole")
    (home / "first").rename(raw)
    try:
        rows = _run("night 1", home, [step for step in STEPS if step != "evaluate"])
        if NIGHT in nightly:
            # The first job fills the online store; every later one brings it what is new.
            run_step("night 1", NIGHT, home)
            deliver_last_day(home / "last_day", raw)
        else:
            add_last_day(home / "last_day", raw)
        return rows + _run("night 2", home, nightly)
    finally:
        shutil.rmtree(raw)
        (home / "whole").rename(raw)


def _run(run: str, home: Path, steps: Sequence[str] = STEPS) -> list[Row]:
    rows: list[Row] = []
    for step in steps:
        rows.append(run_step(run, step, home))
        print(
            f"{run}, {step}: {rows[-1].seconds} s, {rows[-1].peak_mib:,.0f} MiB {rows[-1].error}", flush=True
        )
        if rows[-1].error:
            break
    return rows


if __name__ == "__main__":
    main()
