"""A source on trial is used where past nights rank better with it, and else leaves no trace in the lists."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.backtest_files import Backtest
from pipelines.rankers import past_nights, train
from pipelines.rankers.past_nights import NightRows
from pipelines.rankers.source_trial import SourceTrial, after_trial
from scoring.backtest import backtest
from scoring.database.publish import score_and_publish
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight

CUT = midnight(FIRST_DAY + timedelta(days=6))
EXAMPLES, CANDIDATES = 300, 12
LOG = make_log(9, users=40, videos=60, plays=4_000)
SETTINGS = """ranker.objective = "next_day"
ranker.lightgbm.num_iterations = 10
ranker.lightgbm.early_stopping_round = 10
lists.top_k = 6
ranker.filter_k = 12
retrieval.source_k = 8
evaluation.backtest_days = 1
retrieval.sources = "{}"
"""


def _rows(tells: Callable[[np.ndarray], np.ndarray]) -> NightRows:
    """Half of the examples end before CUT. tells: which of them the source on trial knows the likes of."""
    random = np.random.default_rng(1)
    example = np.repeat(np.arange(EXAMPLES), CANDIDATES)
    liked = random.random(len(example)) < 0.2
    is_early = example % 2 == 0
    noise = random.random((2, len(example))).astype(np.float32)
    known = np.where(tells(is_early), liked + 0.1 * noise[0], noise[0])
    every = np.ones(len(example), dtype=bool)
    rows = NightRows(
        ("als", "sequence"),
        np.column_stack([noise[1], known]).astype(np.float32),
        liked,
        liked.astype(np.float32),
        example,
        example % 4 < 2,
        every,
        np.arange(len(example)) % 50,
        np.zeros(len(example), dtype=np.int64),
        round(CUT.timestamp() * 1e6) + np.where(is_early, -1, 1),
        "nights",
        log_plays=10_000,
    )
    untried = replace(rows, names=("als",), features=rows.features[:, :1], left_out=("sequence",))
    return replace(rows, untried=untried)


def test_a_source_that_finds_what_is_liked_is_used() -> None:
    rows, trial = after_trial(_rows(lambda early: early), CUT, 1, 1)
    assert trial is not None and trial.is_passed
    assert (rows.names, rows.left_out, rows.untried) == (("als", "sequence"), (), None)


def test_what_happens_after_the_judged_days_begin_has_no_say(capfd: pytest.CaptureFixture[str]) -> None:
    """There the source knows every like, before it none."""
    rows, trial = after_trial(_rows(lambda early: ~early), CUT, 1, 1)
    assert trial is not None and not trial.is_passed
    assert (rows.names, rows.left_out) == (("als",), ("sequence",))
    assert "the rankers do without it" in "".join(capfd.readouterr())


def _lists(home: Path, sources: str, patch: pytest.MonkeyPatch) -> tuple[Settings, pl.DataFrame]:
    settings = make_feature_home(home, LOG, patch, more_settings=SETTINGS.format(sources))
    train(settings)
    score_and_publish(settings)
    with sqlite3.connect(settings.paths.sqlite) as database:
        lists = pl.read_database("SELECT * FROM latest_recommendation ORDER BY user_id, rank", database)
    return settings, lists.select(columns.USER_ID, columns.RANK, columns.VIDEO_ID, "score")


def test_lists_are_the_same_with_a_source_that_is_left_out_as_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_nights, "ON_TRIAL", ("item_knn",))
    monkeypatch.setattr(SourceTrial, "is_passed", False)
    settings, lists = _lists(tmp_path / "with", "als,recent_2d,item_knn", monkeypatch)
    trial = model_registry.champion(settings.paths).manifest["source_trial"]
    assert trial["sources"] == ["item_knn"] and trial["lists"] > 0 and not trial["is_used"]
    backtest(settings)
    found = Backtest.load(settings.paths)
    assert found is not None and {"hybrid", "source_item_knn"} <= set(found.systems)
    assert lists.equals(_lists(tmp_path / "without", "als,recent_2d", monkeypatch)[1])
