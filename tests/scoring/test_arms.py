"""Arms of an experiment: users stay where the hash put them, one run holds all, and looking often is safe."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from sqlalchemy import select

from nightreel.core.errors import AuditError, InputError
from nightreel.core.ids import Ids
from nightreel.core.settings import Settings
from nightreel.core.settings.experiments import ExperimentSettings
from pipelines.model_registry import ModelVersion
from scoring.database.connection import reading, sql_engine
from scoring.database.new_run import NewRun
from scoring.database.night_lists import in_arm
from scoring.database.run_digest import digest_of_run
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.tables import recommendation
from scoring.database.writer import exclusive_lock
from scoring.lists.arms import arms_of, arms_of_night
from scoring.lists.eligibility import NOBODY
from scoring.outcomes.arms import arms_over_nights, difference, figures_of_arms, sample_ratio, spent
from scoring.outcomes.card_rows import rows_of_arms
from tests.fixtures.lists import make_blocks, make_candidates

NIGHT = datetime(2020, 8, 15, 2, tzinfo=UTC)
USERS = np.arange(20_000)


def _experiment(*shares: float, salt: str = "spring") -> ExperimentSettings:
    arms = {f"arm{n}": {"share": share} for n, share in enumerate(shares)}
    return ExperimentSettings.model_validate({"salt": salt, "arms": arms})


def _arms(experiment: ExperimentSettings, settings: Settings) -> np.ndarray:
    return arms_of(experiment, USERS, Ids.of(settings.paths, "user_id"))


def test_users_stay_in_their_arms_and_shares_are_those_set(settings: Settings) -> None:
    found = _arms(_experiment(0.2, 0.3, 0.5), settings)
    again = arms_of(_experiment(0.2, 0.3, 0.5), USERS[::-1][:500], Ids.of(settings.paths, "user_id"))
    assert np.array_equal(again, found[::-1][:500])
    counts = np.bincount(found)
    assert sample_ratio(counts.tolist(), [0.2, 0.3, 0.5]) > 0.001
    # A larger first share takes users in, and loses none.
    larger = _arms(_experiment(0.4, 0.2, 0.4), settings)
    assert (larger[found == 0] == 0).all()
    # Another salt draws anew: who was in an arm is spread as everyone.
    other = _arms(_experiment(0.2, 0.3, 0.5, salt="autumn"), settings)
    assert abs((other[found == 0] == 0).mean() - 0.2) < 0.03


@pytest.mark.parametrize(
    "wrong",
    [
        {"salt": "s", "arms": {"a": {"share": 0.5}}},
        {"salt": "s", "arms": {"a": {"share": 0.5}, "b": {"share": 0.4}}},
        {"salt": "", "arms": {"a": {"share": 0.5}, "b": {"share": 0.5}}},
        {"salt": "s", "arms": {"A b": {"share": 0.5}, "b": {"share": 0.5}}},
        {
            "salt": "s",
            "arms": {"a": {"share": 0.5}, "b": {"share": 0.5, "settings": {"lists": {"top_k": 5}}}},
        },
        {
            "salt": "s",
            "arms": {"a": {"share": 0.5}, "b": {"share": 0.5, "settings": {"lists": {"diversity": 7}}}},
        },
    ],
)
def test_what_is_no_experiment_is_refused(wrong: dict[str, object], settings: Settings) -> None:
    with pytest.raises(ValidationError):
        Settings(home=settings.home, experiments=wrong)  # type: ignore[arg-type]


def test_all_arms_are_one_run_and_a_row_of_the_wrong_arm_is_not_shown(settings: Settings) -> None:
    candidates = make_candidates(1)
    first = np.arange(len(candidates.user_id)) % 3 == 0
    of_arms = [("a", candidates.of_users(first)), ("b", candidates.of_users(~first))]

    def blocks(names: tuple[str, str]) -> list[object]:
        parts = zip(names, (own for _, own in of_arms), strict=True)
        return [block for name, own in parts for block in in_arm(make_blocks(own, 1, k=10), name)]

    def write(names: tuple[str, str], night: datetime) -> int:
        changed = settings.changed({"lists.top_k": 10})
        with exclusive_lock(sql_engine(settings)) as connection:
            with connection.begin():
                upgrade(connection)
            run = NewRun(night, "m", f"{night}", arms="{}")
            written = publish(connection, run, blocks(names), candidates, changed, arms=of_arms)  # type: ignore[arg-type]
        return written.rows

    assert write(("a", "b"), NIGHT) == sum(map(len, blocks(("a", "b"))))  # type: ignore[arg-type]
    with reading(settings) as connection:
        arms = dict(connection.execute(select(recommendation.c.user_id, recommendation.c.arm)).all())
    assert {user for user, arm in arms.items() if arm == "a"} == set(candidates.user_id[first].tolist())
    with pytest.raises(AuditError, match="audit `arms`"):
        write(("b", "a"), NIGHT + timedelta(days=1))


def test_another_salt_is_another_run(settings: Settings) -> None:
    (settings.home / "read").write_text("abc", encoding="utf-8")
    model = ModelVersion("m", settings.home, {})
    arms = arms_of_night(settings.paths, _experiment(0.5, 0.5), model)

    def digest(salt: str | None) -> str:
        return digest_of_run(settings, (settings.home / "read",), arms, NIGHT, NOBODY, salt=salt, knew={})

    assert digest("spring") == digest("spring")
    assert len({digest("spring"), digest("autumn"), digest(None)}) == 3


def test_uneven_arms_are_named() -> None:
    assert sample_ratio([500, 500], [0.5, 0.5]) == 1
    assert sample_ratio([5_000, 5_300], [0.5, 0.5]) < 0.01
    assert sample_ratio([0, 0], [0.5, 0.5]) == 1
    rows = [_row("a", 0, 5_000, 100), _row("b", 1, 5_600, 100)]
    assert [row["sample_ratio_mismatch"] for row in arms_over_nights([rows])] == [True, True]


def test_arms_without_active_users_have_no_difference() -> None:
    rows = [_row("a", 0, 30, 0) | {"active_users": 0}, _row("b", 1, 30, 0) | {"active_users": 0}]
    found = arms_over_nights([rows])
    assert found[1]["against_first"]["liked"] == {"estimate": None, "low": None, "high": None, "looks": 0}
    assert rows_of_arms(found)[1]["rows liked against first"] is None


def test_an_arm_whose_model_is_gone_is_named(settings: Settings) -> None:
    gone = {"salt": "s", "arms": {"a": {"share": 0.5}, "b": {"share": 0.5, "model": "20200101-gone"}}}
    model = ModelVersion(settings.paths.models, "20200102-there", {})
    with pytest.raises(InputError, match="arm b: the model 20200101-gone is gone"):
        arms_of_night(settings.paths, ExperimentSettings.model_validate(gone), model)


def _row(arm: str, position: int, users: int, reached: int) -> dict[str, object]:
    facts = {"arm": arm, "position": position, "salt": "s", "share": 0.5, "model_version": "m"}
    counts = {"users": users, "active_users": users, "reached": reached, "reached_liked": reached}
    return facts | counts | dict.fromkeys(("played", "played_squared", "liked", "liked_squared"), reached)


def test_a_night_is_counted_by_arm_as_by_hand() -> None:
    run = SimpleNamespace(
        arms='{"salt": "s", "arms": {"b": {"share": 0.5, "model": "m1"}, "a": {"share": 0.5, "model": "m2"}}}'
    )
    users = pl.DataFrame({"user_id": [1, 2, 3, 4], "arm": ["a", "a", "b", "b"]})
    pairs = pl.DataFrame({"user_id": [1, 1, 2, 3], "video_id": [7, 8, 9, 7]})
    hits = pl.DataFrame({"user_id": [1, 1, 3], "liked": [True, False, False], "rank": [1, 2, 1]})
    first, second = figures_of_arms(run, users, pairs, hits)
    assert [first["arm"], first["position"], first["model_version"]] == ["b", 0, "m1"]
    assert [first[name] for name in ("users", "active_users", "reached", "reached_liked")] == [2, 1, 1, 0]
    assert [second[name] for name in ("users", "active_users", "reached", "reached_liked")] == [2, 2, 1, 1]
    names = ("played", "played_squared", "liked", "liked_squared")
    assert [second[name] for name in names] == [2, 4, 1, 1]
    assert [first[name] for name in names] == [1, 1, 0, 0]
    assert figures_of_arms(SimpleNamespace(arms=None), users, pairs, hits) == []


def test_looking_every_night_keeps_the_promise() -> None:
    """Users keep their tastes, nothing differs: over 14 looks no more than 5 % of experiments ever say so."""
    assert sum(spent(look) for look in range(1, 10_000)) < 0.05
    random = np.random.default_rng(3)
    wrong = found = 0
    experiments, users = 400, 300
    for _ in range(experiments):
        nights, better = [], []
        taste = random.beta(0.6, 1.4, size=(2, users))
        for _night in range(14):
            reached = (random.random((2, users)) < taste).sum(axis=1).tolist()
            more = int((random.random(users) < np.minimum(taste[1] + 0.25, 1)).sum())
            rows = [_row("a", 0, users, reached[0]), _row("b", 1, users, reached[1])]
            nights.append((rows[0], rows[1]))
            better.append((rows[0], _row("b", 1, users, more)))
        looks = [difference(nights[: n + 1], "reached") for n in range(14)]
        wrong += any(not look["low"] <= 0 <= look["high"] for look in looks)
        found += any(difference(better[: n + 1], "reached")["low"] > 0 for n in range(14))
    assert wrong / experiments <= 0.05
    assert found / experiments > 0.95
