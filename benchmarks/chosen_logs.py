"""The logs that a command line names, for the benchmarks that make lists of them."""

import argparse
from pathlib import Path

from benchmarks.movielens import write_movielens
from benchmarks.nightreel_home import ROOT, nightreel
from benchmarks.peer_logs import PeerTask, feed_day, held_out


def add_log_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that name logs, their settings, and the folder of lists."""
    parser.add_argument("--movielens", type=Path, metavar="WHEEL", help="recbole-1.2.1-py3-none-any.whl")
    parser.add_argument(
        "--held-out", action="append", default=[], metavar="NAME=FOLDER", help="with small_matrix"
    )
    parser.add_argument(
        "--feed", action="append", default=[], metavar="NAME=FOLDER", help="judged day by day"
    )
    parser.add_argument("--days", type=int, nargs="+", default=[], help="days of the feed, like 20220501")
    parser.add_argument("--synthetic", type=int, nargs=3, metavar=("USERS", "VIDEOS", "ROWS"))
    parser.add_argument(
        "--threshold", type=float, default=1.0, help="liked, but in feeds: watch_ratio above it (1.0)"
    )
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="LINE",
        help="of nightreel.toml, for what a log needs",
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "benchmarks" / "work" / "peers", help="folder of the lists"
    )
    parser.add_argument(
        "--nightreel", type=Path, default=ROOT / ".venv" / "bin", help="bin folder of nightreel's own"
    )


def tasks(chosen: argparse.Namespace) -> list[list[PeerTask]]:
    """Questions that make one table each: a held-out log is one, a feed has one a day."""
    result = []
    if chosen.movielens:
        raw = chosen.work / "movielens" / "raw"
        write_movielens(chosen.movielens, raw)
        result.append([held_out("movielens", raw, chosen.threshold)])
    if chosen.synthetic:
        users, videos, rows = chosen.synthetic
        raw = chosen.work / "synthetic" / "raw"
        if not raw.is_dir():
            home = chosen.work / "synthetic" / "world"
            home.mkdir(parents=True, exist_ok=True)
            size = f"--users {users} --videos {videos} --interactions {rows}"
            nightreel(f"synthesize {size} --out {raw.resolve()}", home, chosen.nightreel)
        result.append([held_out("synthetic", raw, chosen.threshold)])
    for name, folder in _named(chosen.held_out):
        result.append([held_out(name, folder, chosen.threshold)])
    for name, folder in _named(chosen.feed):
        result.append(
            [feed_day(f"{name}-{day}", folder, day, chosen.work / f"{name}-{day}") for day in chosen.days]
        )
    return result


def of_all_days(part: list[PeerTask]) -> str:
    """The name of a feed's days together."""
    return f"{part[0].name.rpartition('-')[0]}, all days"


def _named(given: list[str]) -> list[tuple[str, Path]]:
    for text in given:
        if "=" not in text:
            raise SystemExit(f"{text}: name the folder, like kuairand=FOLDER")
    return [(text.partition("=")[0], Path(text.partition("=")[2])) for text in given]
