"""Published lists on the real pieces of KuaiRec, where a block of users and videos never met.

That is small_matrix's case, but small_matrix's own positives are not among the pieces. So a hole like it is
made of 1,411 other users and 3,327 other videos: their pairs are taken out of the log, all steps of nightreel
run on the rest with default settings but like_threshold, every other video is put on the blocklist, and the
lists are judged by the pairs that were taken out. Beside them are one list for all by positives, and
implicit's BPR and ALS, fitted on the same rest. What is positive in this hole had also been shown by the app,
which small_matrix is free of, so these are not small_matrix's figures. The pieces hold positives only, of
which objective `shown` cannot learn: --others adds made-up plays that were not liked, evenly over videos and
never in the hole (real_pieces.py), and --objective says what the rankers are trained for. The peers learn
from positives alone. Adds a table to benchmarks/results/real_hole.json.

    python benchmarks/real_hole.py FOLDER [--seed 0]
    python benchmarks/real_hole.py FOLDER --others 3 --objective shown
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import polars as pl
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix
from sqlalchemy import insert, text

from benchmarks.full_kuairec import RESULTS, run_step
from benchmarks.measured_process import machine
from benchmarks.real_pieces import Pairs, Pieces, read_pieces, write_raw
from nightreel.core.settings import load_settings
from pipelines.metrics import Bootstrap, Order, Outcome, RankedLists, ndcg_at_k, precision_at_k
from scoring.database.connection import reading, sql_engine
from scoring.database.schema import upgrade
from scoring.database.tables import blocklist

RESULT = RESULTS / "real_hole.json"
SETTINGS = "data.targets.like_threshold = 2.0\nschedule.max_data_age_hours = 0\nlists.top_k = 20\n"
USERS, VIDEOS = 1_411, 3_327
METRICS = ("ndcg@20", "precision@20")
OBJECTIVES = ("auto", "shown", "next_day")
_DEPTH = 20


def made_hole(pieces: Pieces, seed: int) -> tuple[Pieces, np.ndarray, np.ndarray, np.ndarray]:
    """The pieces without a drawn block, its users and videos as positions, and its positives (bool)."""
    shape = (len(pieces.users), len(pieces.videos))
    user = np.concatenate([pieces.train.user, pieces.valid.user])
    video = np.concatenate([pieces.train.video, pieces.valid.video])
    positive = Pairs(user, video).matrix(*shape)
    random = np.random.default_rng(seed)
    free = np.flatnonzero(~pieces.hole.any(axis=1) & positive.any(axis=1))
    users = np.sort(random.choice(free, USERS, replace=False))
    videos = np.sort(random.choice(np.flatnonzero(~pieces.hole.any(axis=0)), VIDEOS, replace=False))
    taken_out = np.isin(user, users) & np.isin(video, videos)
    rest = Pairs(user[~taken_out], video[~taken_out])
    # No made-up play may fall into the hole either.
    hole = pieces.hole.copy()
    hole[np.ix_(users, videos)] = True
    left = Pieces(pieces.users, pieces.videos, rest, pieces.valid, hole)
    return left, users, videos, positive[np.ix_(users, videos)]


def published_scores(home: Path, left: Pieces, users: np.ndarray, videos: np.ndarray) -> np.ndarray:
    """Run nightreel on the rest; minus the rank of each video of the hole, -inf off the list."""
    for step in ("ingest", "features", "feast apply", "train"):
        _run(step, home)
    os.environ["NIGHTREEL_HOME"] = str(home)
    settings = load_settings()
    others = np.setdiff1d(left.videos, left.videos[videos]).tolist()
    with sql_engine(settings).begin() as connection:
        upgrade(connection)
        connection.execute(
            insert(blocklist), [{"video_id": one, "reason": "not in the hole"} for one in others]
        )
    _run("score", home)
    query = text("SELECT user_id, video_id, rank FROM latest_recommendation")
    with reading(settings) as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    lists = pl.DataFrame(rows, schema=["user_id", "video_id", "rank"], orient="row").filter(
        pl.col("user_id").is_in(pl.Series(left.users[users]).implode())
    )
    scores = np.full((len(users), len(videos)), -np.inf)
    row = np.searchsorted(left.users[users], lists["user_id"].to_numpy())
    scores[row, np.searchsorted(left.videos[videos], lists["video_id"].to_numpy())] = -lists[
        "rank"
    ].to_numpy()
    return scores


def _run(step: str, home: Path) -> None:
    row = run_step("real hole", step, home)
    print(
        f"{step}: {row.seconds} s, {row.cpu_seconds} CPU s, {row.peak_mib:,.0f} MiB {row.error}", flush=True
    )
    if row.error:
        raise SystemExit(row.error)


def peers(left: Pieces, users: np.ndarray, videos: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the hole's pairs by models that know the rest: float64 [users, videos]."""
    counts = left.positives_of_videos()[videos].astype(np.float64)
    rest = left.train.distinct(len(left.videos))
    plays = csr_matrix(
        (np.ones(len(rest.user), dtype=np.float32), (rest.user, rest.video)),
        (len(left.users), len(left.videos)),
    )
    found = {"one list for all": np.broadcast_to(counts, (len(users), len(videos)))}
    for name, model in (
        (
            "BPR, defaults, 20 epochs",
            BayesianPersonalizedRanking(iterations=20, random_state=0, num_threads=1),
        ),
        ("ALS, 64 factors", AlternatingLeastSquares(factors=64, random_state=0, num_threads=1)),
    ):
        model.fit(plays, show_progress=False)
        found[name] = model.user_factors[users] @ model.item_factors[videos].T
    return found


def table(scores: dict[str, np.ndarray], truth: np.ndarray) -> list[dict[str, object]]:
    """Means over users with a positive and 95 % intervals, of the difference to the first system too."""
    user, video = (part.ravel() for part in np.indices(truth.shape))
    outcome = Outcome.of(user, truth.ravel(), None, _DEPTH)
    bootstrap = Bootstrap.of(int(truth.any(axis=1).sum()), seed=0)
    rows: list[dict[str, object]] = []
    first: np.ndarray | None = None
    for name, of_pairs in scores.items():
        lists = RankedLists.ordered(Order.of(user, video, np.asarray(of_pairs, dtype=float).ravel()), outcome)
        own = np.column_stack([ndcg_at_k(lists, 20), precision_at_k(lists, 20)])
        first = own if first is None else first
        row: dict[str, object] = {"system": name, "users": len(own)}
        for column, metric in enumerate(METRICS):
            row[metric] = round(float(own[:, column].mean()), 4)
            for part, values in (("interval", own), ("difference", own - first)):
                ends = bootstrap.intervals(values)[:, column]
                row[f"{metric} {part}"] = [round(float(end), 4) for end in ends]
        rows.append(row)
    return rows


def main() -> None:
    """Make the hole, the lists and the table; print it and add it to the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with the real pieces")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of users and videos (0)")
    parser.add_argument("--others", type=float, default=0.0, help="made-up plays a positive (0)")
    parser.add_argument("--objective", choices=OBJECTIVES, default="auto", help="of the rankers (auto)")
    chosen = parser.parse_args()
    left, users, videos, truth = made_hole(read_pieces(chosen.folder), chosen.seed)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary).resolve()
        settings = f'{SETTINGS}ranker.objective = "{chosen.objective}"\n'
        (home / "nightreel.toml").write_text(settings, encoding="utf-8")
        write_raw(left, chosen.folder, home / "raw", others=chosen.others, exposure="even", seed=chosen.seed)
        scores = {"nightreel": published_scores(home, left, users, videos)}
    rows = table(scores | peers(left, users, videos), truth)
    print(f"\n| system | {' | '.join(METRICS)} |\n{'|---' * (len(METRICS) + 1)}|")
    for row in rows:
        print(
            f"| {row['system']} | "
            + " | ".join(f"{row[one]:.3f} {row[f'{one} interval']}" for one in METRICS)
            + " |"
        )
    tables = json.loads(RESULT.read_text(encoding="utf-8"))["tables"] if RESULT.is_file() else {}
    name = f"seed {chosen.seed}"
    if chosen.others or chosen.objective != "auto":
        name += f", {chosen.others:g} others a positive, {chosen.objective}"
    tables[name] = rows
    content = {"machine": machine("lightgbm", "implicit"), "tables": tables}
    RESULT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
