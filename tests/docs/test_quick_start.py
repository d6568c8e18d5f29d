"""The quick start of the README: from a MovieLens file to a list in SQL, by its own lines."""

import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "README.md"
SMALL = {
    "NIGHTREEL_FEATURES_ALS": '{"factors": 4, "refit_days": 3}',
    "NIGHTREEL_RANKER_LIGHTGBM_NUM_ITERATIONS": "5",
    "NIGHTREEL_RANKER_LIGHTGBM_MIN_DATA_IN_LEAF": "5",
    "NIGHTREEL_RETRIEVAL_SOURCES": "recent_2d,item_knn",
    "NIGHTREEL_THREADS": "1",
    "NIGHTREEL_RANKER_OBJECTIVE": "shown",
}
USERS, ITEMS, RATINGS, FIRST = 40, 60, 1_500, 893_286_400


def movielens(folder: Path) -> None:
    """Files as of ml-100k: u.data, u.user and u.item, tiny."""
    folder.mkdir()
    draws = np.random.default_rng(1)
    pairs = draws.permutation(USERS * ITEMS)[:RATINGS]
    at = FIRST + np.sort(draws.integers(0, 12 * 86_400, len(pairs)))
    stars = 1 + (pairs // ITEMS * 7 + pairs % ITEMS * 3 + draws.integers(0, 2, len(pairs))) % 5
    rows = zip(pairs // ITEMS + 180, pairs % ITEMS + 1, stars, at, strict=True)
    (folder / "u.data").write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    users = "".join(f"{180 + n}|{20 + n}|{'MF'[n % 2]}|writer|{10_000 + n}\n" for n in range(USERS))
    (folder / "u.user").write_text(users)
    titles = "".join(
        f"{n + 1}|L'\xe9t\xe9 {n} (1995)|01-Jan-1995||http://example.org/{n}|{'|'.join('01'[n % 2] * 19)}\n"
        for n in range(ITEMS)
    )
    (folder / "u.item").write_text(titles, encoding="latin-1")


def test_a_movielens_file_becomes_lists_in_sql(
    tmp_path: Path, nightreel: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    section = README.read_text(encoding="utf-8").split("## From a log to lists")[1].split("\n## ")[0]
    (shell,) = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    (sql,) = re.findall(r"```sql\n(.*?)```", section, flags=re.DOTALL)
    assert len((shell + sql).splitlines()) <= 10
    home = tmp_path / "ml-100k"
    movielens(home)
    said = ""
    for line in shell.splitlines():
        command = line.split("#")[0].split()
        if command[0] == "nightreel":
            done = nightreel(*command[1:], cwd=home, NIGHTREEL_EVALUATION_BACKTEST_DAYS="1", **SMALL)
            assert done.returncode == 0, done.stderr
            said = done.stdout
        else:
            assert command[0] in ("source", "unzip", "cd")
    assert "L'été" in said  # the last command shows a list, with titles
    rows = sqlite3.connect(home / "data" / "nightreel.sqlite").execute(sql).fetchall()
    assert [rank for _, rank, _ in rows] == list(range(1, 11))
    features = {path.stem for path in (home / "data" / "features").glob("declared_*.parquet")}
    assert features == {"declared_user_columns", "declared_item_columns"}
