"""Does the scorecard find the better of two arms, and do off-policy estimates cover the truth?

Replays 14 nights of a synthetic log by the product's own steps: what is listed is what gets displayed and
played, by the world's known truth. The arm `few` has a model of one tree, the arm `full` one of many. Videos
may be listed again: otherwise the better arm uses up what is good, and after some nights is worse. Once
without exploration and once with it; then many small worlds of drawn rows, for how often intervals cover.
Writes benchmarks/results/nights.json.

    python benchmarks/nights.py
    python benchmarks/nights.py --nights 4 --worlds 50
"""

import argparse
import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import polars as pl
from sqlalchemy import select, update

from benchmarks.estimate_coverage import coverage
from benchmarks.measured_process import machine, run_measured
from feature_repo.open_store import apply_definitions
from nightreel.core.settings import Settings, load_settings
from nightreel.core.settings.experiments import ExperimentSettings
from nightreel.operations.incoming import merge_deliveries
from pipelines.features import build_features
from pipelines.ingest import ingest
from pipelines.rankers import train
from scoring.database.connection import reading, sql_engine
from scoring.database.publish import score_and_publish
from scoring.database.tables import list_flip, recommendation
from scoring.outcomes import record_outcomes
from scoring.outcomes.scorecard import scorecard
from scoring.policy.evaluate import drawn_under, estimates_of, support_of
from synthetic import synthesize
from synthetic.calendar import DAY_MS
from synthetic.feedback import Feedback
from synthetic.matrices import EPOCH_MS

RESULT = Path(__file__).parent / "results" / "nights.json"
WORLD: dict[str, Any] = {"users": 2_000, "videos": 2_000, "interactions": 100_000, "days": 45, "seed": 7}
HISTORY_DAYS, K, SHOWN, ACTIVE_SHARE, EXPLORE_SHARE = 30, 20, (13, 17), 0.8, 0.3
FEW_TREES = 1
# Off-policy estimates rebuild what was known at the night: of every so manieth night.
EVALUATED_EVERY = 3
_TIMEOUT_S = 3_600.0
SETTINGS = f"""
threads = 1
[data]
max_reject_share = 0.01
[features.als]
factors = 8
[ranker]
objective = "shown"
filter_k = 200
[ranker.lightgbm]
num_iterations = 60
[lists]
top_k = {K}
exclude.seen = false
[database]
keep_runs = 40
"""


def prepare(folder: Path, *, explore: bool) -> tuple[Settings, ExperimentSettings, str]:
    """A home with the days before the first night, the arms, and the version of the full model."""
    (folder / "nightreel.toml").write_text(SETTINGS, encoding="utf-8")
    raw = folder / "raw"
    raw.mkdir()
    synthesize(raw, **WORLD)
    (raw / "small_matrix.csv").unlink()
    plays = pl.read_csv(raw / "big_matrix.csv")
    days = sorted(plays["date"].unique().to_list())[:HISTORY_DAYS]
    plays.filter(pl.col("date").is_in(days)).write_csv(raw / "big_matrix.csv")
    settings = load_settings()
    ingest(settings)
    build_features(settings)
    apply_definitions(settings)
    full = train(settings).facts.version
    few = train(settings.changed({"ranker.lightgbm.num_iterations": FEW_TREES}), force=True).facts.version
    arms = {"few": {"share": 0.5, "model": few}, "full": {"share": 0.5, "model": full}}
    experiment = ExperimentSettings.model_validate({"salt": "nights", "arms": arms})
    return settings.changed({"lists.explore_share": EXPLORE_SHARE * explore}), experiment, full


def night(
    settings: Settings, experiment: ExperimentSettings, world: Feedback, random: np.random.Generator
) -> tuple[int, pl.DataFrame, datetime]:
    """One night: lists, what people make of them, deliveries. The run, the displayed rows, and its as_of."""
    facts = score_and_publish(settings, experiment=experiment).facts
    assert facts.run_id is not None
    as_of = datetime.fromisoformat(facts.as_of)
    with sql_engine(settings).begin() as connection:
        of_run = update(list_flip).where(list_flip.c.run_id == facts.run_id)
        connection.execute(of_run.values(shown_at=as_of))
    names = ("user_id", "rank", "video_id", "arm")
    with reading(settings) as connection:
        query = select(*(recommendation.c[name] for name in names))
        rows = connection.execute(query.where(recommendation.c.run_id == facts.run_id)).all()
    lists = pl.DataFrame([tuple(row) for row in rows], schema=list(names), orient="row")
    users = lists["user_id"].unique().sort()
    active = users.filter(pl.Series(random.random(len(users)) < ACTIVE_SHARE))
    depth = pl.DataFrame({"user_id": active, "depth": random.integers(SHOWN[0], SHOWN[1] + 1, len(active))})
    shown = lists.join(depth, on="user_id").filter(pl.col("rank") <= pl.col("depth")).sort("user_id", "rank")
    # Each user's session begins at some time of the day; a row is displayed every half a minute.
    day = _day(as_of)
    begins = pl.DataFrame({"user_id": active, "begin": random.integers(8 * 3_600, 23 * 3_600, len(active))})
    second = pl.col("begin") + 30 * pl.col("rank")
    shown = shown.join(begins, on="user_id").with_columns(local_ms=day * DAY_MS + 1_000 * second)
    user, video, local_ms = (shown[name].to_numpy() for name in ("user_id", "video_id", "local_ms"))
    shown = shown.with_columns(liked=pl.Series(world.probability_liked(user, video, local_ms)))
    plays = world.plays(user, video, local_ms, random)
    incoming = settings.data.raw_dir / "incoming"
    incoming.mkdir(exist_ok=True)
    plays.write_csv(incoming / f"big_matrix_{facts.run_id}.csv")
    displays = shown.select(
        "user_id",
        "video_id",
        (plays["timestamp"] - 1).alias("timestamp"),
        pl.col("rank").alias("position"),
        pl.lit(facts.run_id).alias("run"),
    )
    displays.write_csv(incoming / f"exposures_{facts.run_id}.csv")
    merge_deliveries(settings)
    ingest(settings)
    record_outcomes(settings, as_of + timedelta(hours=25))
    return facts.run_id, shown, as_of


def replay(folder: Path, nights: int, *, explore: bool) -> dict[str, Any]:
    """All nights; what the scorecard says after each, beside the truth."""
    settings, experiment, full = prepare(folder, explore=explore)
    world, random = Feedback.of(**WORLD), np.random.default_rng(11)
    looks: list[dict[str, Any]] = []
    truths, policies = [], []
    for n in range(nights):
        run_id, shown, as_of = night(settings, experiment, world, random)
        truths.append(_truth(shown))
        arm = scorecard(settings)["arms"][1]
        looks.append({**arm["against_first"]["liked"]})
        if explore and n % EVALUATED_EVERY == 0:
            policies.append(_policy(settings, world, full, run_id=run_id, as_of=as_of))
        build_features(settings)
    card = scorecard(settings)
    difference = [truth["full"] - truth["few"] for truth in truths]
    means = [float(np.mean(difference[: n + 1])) for n in range(nights)]
    found = [n + 1 for n, look in enumerate(looks) if look["low"] > 0]
    return {
        "explore_share": settings.lists.explore_share,
        "arms": [
            {name: arm[name] for name in ("arm", "users", "nights", "liked", "sample_ratio_p")}
            | {"truth": float(np.mean([truth[arm["arm"]] for truth in truths]))}
            for arm in card["arms"]
        ],
        "difference": looks[-1] | {"truth": means[-1]},
        "found_after_nights": found[0] if found else None,
        "looks_that_cover": sum(
            look["low"] <= mean <= look["high"] for look, mean in zip(looks, means, strict=True)
        ),
        "nights": nights,
        "policy": policies,
    }


def _truth(shown: pl.DataFrame) -> dict[str, float]:
    """Expected liked rows per active user of each arm, given what was displayed."""
    by_arm = shown.group_by("arm").agg(pl.col("liked").sum(), pl.col("user_id").n_unique())
    return {arm: liked / users for arm, liked, users in by_arm.iter_rows()}


def _day(as_of: datetime) -> int:
    """Number of the world's day that begins at an instant."""
    return round((as_of.timestamp() * 1_000 - EPOCH_MS) / DAY_MS)


def _policy(
    settings: Settings, world: Feedback, version: str, *, run_id: int, as_of: datetime
) -> dict[str, Any]:
    """What `evaluate --policy` says of the full model for a night, beside the truth."""
    judged = drawn_under(settings, version, run_id=run_id, now=as_of + timedelta(hours=25))
    drawn = judged.drawn
    rewards = []
    for user, (videos, probabilities) in zip(drawn.user, drawn.choices, strict=True):
        # At the middle of the sessions; what the hour changes is small.
        at = np.full(len(videos), _day(as_of) * DAY_MS + 56_000_000)
        rewards.append(float(probabilities @ world.probability_liked(np.full(len(videos), user), videos, at)))
    return {
        "run_id": run_id,
        "rows": len(rewards),
        "truth": float(np.mean(rewards)),
        "support": support_of(drawn).value,
        "estimates": estimates_of(drawn, judged.reward),
    }


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| exploration | arm | liked rows per active user and night | truth |", "|---|---|---|---|"]
    for one in found["replays"]:
        for arm in one["arms"]:
            lines.append(
                f"| {one['explore_share']:g} | {arm['arm']} | {arm['liked']:.3f} | {arm['truth']:.3f} |"
            )
    lines += [
        "",
        "| exploration | difference | truth | found after | looks that cover |",
        "|---|---|---|---|---|",
    ]
    for one in found["replays"]:
        of = one["difference"]
        lines.append(
            f"| {one['explore_share']:g} | {of['estimate']:+.3f} [{of['low']:+.3f}, {of['high']:+.3f}] "
            f"| {of['truth']:+.3f} | {one['found_after_nights']} nights "
            f"| {one['looks_that_cover']} of {one['nights']} |"
        )
    lines += ["", "| night | estimator | estimate | truth | support | effective rows |", "|" + "---|" * 6]
    for one in found["replays"]:
        for night_ in one["policy"]:
            for of in night_["estimates"]:
                lines.append(
                    f"| run {night_['run_id']} | {of['estimator']} | {of['value']:.3f} "
                    f"[{of['low']:.3f}, {of['high']:.3f}] | {night_['truth']:.3f} "
                    f"| {night_['support']:.2f} | {of['effective']:.0f} |"
                )
    lines += ["", "| world | support | estimator | covers | mean error | mean half width |", "|" + "---|" * 6]
    for of in found["coverage"]:
        lines.append(
            f"| {of['world']} | {of['support']:.2f} | {of['estimator']} | {of['covers']:.3f} "
            f"| {of['bias']:+.4f} | {of['half']:.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Each replay in a process of its own, then the coverage; print and write all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=14)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--replay", choices=["off", "on"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.replay:
        folder = Path(os.environ["NIGHTREEL_HOME"])
        print(json.dumps(replay(folder, arguments.nights, explore=arguments.replay == "on")))
        return
    replays, cpu_s = [], 0.0
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    for explore in ("off", "on"):
        with TemporaryDirectory(prefix="nightreel-nights-") as home:
            command = [sys.executable, __file__, "--replay", explore, "--nights", str(arguments.nights)]
            done = run_measured(command, timeout_s=_TIMEOUT_S, environment=kept | {"NIGHTREEL_HOME": home})
        if done.output is None:
            raise SystemExit(f"replay with exploration {explore}: {done.error}")
        replays.append(json.loads(done.output.splitlines()[-1]))
        cpu_s += done.cpu_seconds
    found = {"replays": replays, "coverage": coverage(arguments.worlds), "replays_cpu_s": round(cpu_s, 1)}
    of = machine("numpy", "lightgbm", "polars")
    arguments.out.write_text(json.dumps({"machine": of, **found}, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
