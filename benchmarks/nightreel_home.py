"""nightreel's own steps in a home that is made for a benchmark, and the lists that apps would read there."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.peer_logs import PeerTask

ROOT = Path(__file__).resolve().parents[1]
FEATURE_STEPS, LIST_STEPS = ("ingest", "features", "feast apply"), ("train", "score")


def nightreel_lists(task: PeerTask, home: Path, bin_folder: Path, more_settings: list[str]) -> pd.DataFrame:
    """What apps read after a night in a new home: user_id, video_id, rank."""
    make_home(task, home, more_settings)
    run_steps((*FEATURE_STEPS, *LIST_STEPS), home, bin_folder)
    return published(home)


def make_home(task: PeerTask, home: Path, more_settings: list[str]) -> None:
    """A home anew, with the label of the task and default settings otherwise."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    settings = [
        f"data.raw_dir = {json.dumps(str(task.raw.resolve()))}",
        *(f"{name} = {value}" for name, value in task.label.items()),
        *more_settings,
    ]
    (home / "nightreel.toml").write_text("\n".join(settings) + "\n", encoding="utf-8")


def published(home: Path) -> pd.DataFrame:
    """The lists that apps read: user_id, video_id, rank."""
    with sqlite3.connect(home / "data" / "nightreel.sqlite") as database:
        return pd.read_sql("SELECT user_id, video_id, rank FROM latest_recommendation", database)


def run_steps(steps: Sequence[str], home: Path, bin_folder: Path) -> None:
    """Run steps in nightreel's own environment, one after the other."""
    for step in steps:
        nightreel(step, home, bin_folder)


def nightreel(step: str, home: Path, bin_folder: Path) -> None:
    """Run one step in nightreel's own environment; its last line where it fails."""
    command = ["feast", "-c", str(ROOT / "feature_repo"), "apply"] if step == "feast apply" else ["nightreel"]
    rest = [] if step == "feast apply" else step.split()
    run_in_home([str(bin_folder / command[0]), *command[1:], *rest], home, step)


def run_in_home(command: list[str], home: Path, name: str) -> None:
    """Run a command for a home, of nightreel's settings those of the home alone."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    result = subprocess.run(
        command,
        env=kept | {"NIGHTREEL_HOME": str(home.resolve()), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        raise SystemExit(f"nightreel {name} failed in {home}: {result.stderr.strip()[-2000:]}")
