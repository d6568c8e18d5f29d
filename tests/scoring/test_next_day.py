"""Lists of objective `next_day`: honest about time, whole, and the same however they are made."""

import dataclasses
import pickle
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.settings import RetrievalSettings, Settings
from pipelines import model_registry
from pipelines.backtest_files import Backtest, BacktestDay, lists_file
from pipelines.model_rows.joined_features import join_features
from pipelines.model_rows.night import Night
from pipelines.rankers import HybridRanker, train
from pipelines.rankers.blend import Blend
from pipelines.rankers.next_day import NextDayRanker
from pipelines.rankers.objective import BACKTEST, NEXT_DAY, SHOWN, settings_without_effect
from pipelines.rankers.past_nights import night_rows
from pipelines.rankers.shrinkage import Shrinkage
from pipelines.rankers.training_data import TrainingData
from pipelines.retrieval.histories import PlaysByUser
from pipelines.retrieval.past import Past
from pipelines.retrieval.registry import SOURCES
from pipelines.retrieval.sources import Catalogue
from pipelines.training_frame import read_plays
from scoring.backtest import backtest
from scoring.database.publish import score_and_publish
from scoring.lists.eligibility import default_as_of, find_candidates
from scoring.lists.next_day import NextDayScoring, next_day_lists, night_of
from scoring.lists.parts import work_of_next_day
from scoring.lists.rows import HYBRID, POPULAR, REWATCH, Lists
from scoring.lists.score import score_users
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.scored_home import NEVER_PLAYED, SEEN_ALL, scoring_log
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight
from tests.fixtures.tables import read_table

NEXT_DAY_SETTINGS = """ranker.objective = "next_day"
ranker.lightgbm.num_iterations = 10
ranker.lightgbm.early_stopping_round = 10
lists.top_k = 6
ranker.filter_k = 12
retrieval.source_k = 8
"""
LOG = make_log(9, users=60, videos=80, plays=9_000)
CUT = midnight(FIRST_DAY + timedelta(days=6))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path_factory.mktemp("next-day") / "home",
            _many_plays(scoring_log()),
            patch,
            more_settings=NEXT_DAY_SETTINGS,
        )
        train(settings)
        score_and_publish(settings)
        yield settings


def _many_plays(log):
    more = make_log(3, users=30, videos=40, plays=6_000).interactions
    later = log.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) >= midnight(FIRST_DAY))
    return log.with_interactions(
        pl.concat([later, more.filter(pl.col(columns.EVENT_TIMESTAMP) >= midnight(FIRST_DAY))])
    )


def _published(settings: Settings) -> pl.DataFrame:
    with sqlite3.connect(settings.paths.sqlite) as connection:
        return pl.read_database("select * from latest_recommendation", connection)


def _as_of(settings: Settings):
    return default_as_of(settings.paths, settings.data, datetime.now(UTC))


def _lists(
    settings: Settings,
    instant,
    *,
    ranker_of=lambda ranker: ranker,
    length: int | None = None,
    part_users: int | None = None,
    **changes: object,
) -> Lists:
    """The lists of other settings.

    ranker_of: gives what makes them. length: as a backtest asks. part_users: of a part, as on a cluster.
    """
    changed = settings.changed(changes)
    model = model_registry.champion(settings.paths)
    ranker = HybridRanker.load(model.folder)
    candidates = find_candidates(changed, open_store(), instant)
    joined = join_features(
        open_store(),
        ranker.encoding,
        candidates.user_id,
        candidates.video_id,
        as_of=instant,
        zone=settings.data.zone,
    )
    found = ranker_of(NextDayRanker.load(model.folder, NEXT_DAY))
    night = night_of(candidates, joined, read_plays(changed.paths), instant, changed)
    if part_users is None:
        return Lists.concatenate(next_day_lists(candidates, night, found, instant, changed, length=length))
    whole = NextDayScoring.of(candidates, night, found, instant, changed)
    work = work_of_next_day(whole)
    lists_of = pickle.loads(pickle.dumps(work.common)).opened()
    starts = range(0, work.users, part_users)
    return Lists.concatenate(lists_of(work.part(slice(start, start + part_users))) for start in starts)


def test_the_version_says_its_objective_and_keeps_the_rankers_of_the_backtest(
    home: Settings,
) -> None:
    model = model_registry.champion(home.paths)
    assert model.manifest["objective"] == NEXT_DAY
    assert model.manifest["why"]
    for prefix in (NEXT_DAY, BACKTEST):
        assert NextDayRanker.load(model.folder, prefix).names


def test_a_setting_that_the_models_objective_does_not_read_is_named(home: Settings) -> None:
    changed = home.changed({"retrieval.candidates": "als,popular", "retrieval.sources": "als,ease"}).retrieval
    (line,) = settings_without_effect({NEXT_DAY}, changed)
    assert "[retrieval] candidates has no effect" in line
    (line,) = settings_without_effect({SHOWN}, changed)
    assert "[retrieval] sources and source_k have no effect" in line
    assert not settings_without_effect({SHOWN, NEXT_DAY}, changed)
    assert not settings_without_effect({SHOWN}, RetrievalSettings())


def test_every_user_has_a_whole_list_of_what_they_had_not_played(home: Settings) -> None:
    lists = _published(home)
    candidates = find_candidates(home, open_store(), _as_of(home))
    available = np.minimum(candidates.open_to(slice(None)).sum(axis=1), home.lists.top_k)
    lengths = dict(lists.group_by(columns.USER_ID).len().iter_rows())
    assert lengths == dict(zip(candidates.user_id.tolist(), available.tolist(), strict=True))
    assert lists.select(columns.USER_ID, columns.VIDEO_ID).is_duplicated().sum() == 0
    plays = read_table(home, "interactions").select(columns.USER_ID, columns.VIDEO_ID)
    own = lists.filter(pl.col("source") != REWATCH)
    assert own.join(plays, on=[columns.USER_ID, columns.VIDEO_ID]).is_empty()
    assert set(lists.filter(pl.col(columns.USER_ID) == NEVER_PLAYED)["source"]) == {POPULAR}
    assert set(lists.filter(pl.col(columns.USER_ID) == SEEN_ALL)["source"]) == {REWATCH}
    ordered = lists.sort(columns.USER_ID, "rank")
    falls = ordered.select(pl.col("score").diff().over(columns.USER_ID).fill_null(0).max()).item()
    assert falls <= 0


def test_a_user_without_plays_whom_a_source_knows_has_a_list_of_their_own(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = _of_user(_lists(home, _as_of(home)), NEVER_PLAYED)
    monkeypatch.setattr(Night, "knows", lambda _, user_id: user_id == NEVER_PLAYED)
    own = _of_user(_lists(home, _as_of(home)), NEVER_PLAYED)
    assert set(own.source) == {HYBRID}
    # This source knows nothing that would put them in another order.
    np.testing.assert_array_equal(own.video_id, shared.video_id)


def _of_user(lists: Lists, user_id: int) -> Lists:
    return lists.rows(slice(*np.searchsorted(lists.user_id, [user_id, user_id + 1])))


def test_lists_without_a_personal_part_have_one_order_for_all(home: Settings) -> None:
    """What orders is then a figure of each video alone, whatever the threads; the filter stays personal."""

    def common(ranker: NextDayRanker) -> NextDayRanker:
        return dataclasses.replace(ranker, shrinkage=Shrinkage((), (0.0,)))

    lists = _lists(home, _as_of(home), ranker_of=common)
    of_warm = np.isin(lists.source, [HYBRID])
    by_video: dict[int, set[float]] = {}
    for video, score in zip(lists.video_id[of_warm].tolist(), lists.score[of_warm].tolist(), strict=True):
        by_video.setdefault(video, set()).add(round(score, 9))
    assert len(by_video) > 5 and all(len(scores) == 1 for scores in by_video.values())
    personal = _lists(home, _as_of(home))
    assert not np.array_equal(lists.video_id, personal.video_id)
    threads = _lists(home, _as_of(home), ranker_of=common, threads=2)
    np.testing.assert_array_equal(lists.video_id, threads.video_id)
    np.testing.assert_array_equal(lists.score, threads.score)


class _Alone:
    """Each source asked alone as of an instant, over the same catalogue; what is open, as the table says."""

    def __init__(self, settings: Settings, as_of) -> None:
        self._settings = settings
        self._past = past = Past.of(read_plays(settings.paths), as_of, settings.data)
        candidates = find_candidates(settings, open_store(), as_of)
        about = candidates.about
        self.user_id = candidates.user_id
        self.video_id = np.union1d(past.video_id, candidates.video_id)
        listable = np.searchsorted(self.video_id, candidates.video_id)

        def spread(values: np.ndarray, unknown: int) -> np.ndarray:
            found = np.full(len(self.video_id), unknown)
            found[listable] = values
            return found

        self._catalogue = Catalogue(
            self.video_id,
            np.searchsorted(self.video_id, past.video_id),
            spread(about.author, -1),
            spread(about.category, -1),
            spread(about.uploaded_us, 0),
            self._by_reception(settings, as_of),
        )
        instants = np.full(len(self.user_id), past.cutoff_us)
        self._histories = PlaysByUser(past).histories(
            self.user_id, instants, self._catalogue.columns, len(self.video_id)
        )
        self.opened = np.zeros((len(self.user_id), len(self.video_id)), dtype=bool)
        self.opened[:, listable] = candidates.open_to(slice(None))
        self.has_all = candidates.rewatch(slice(None))

    def _by_reception(self, settings: Settings, as_of) -> np.ndarray:
        """How well all users had received each video: its share of liked plays, then its views."""
        source = pl.read_parquet(settings.paths.feature_source(columns.VIDEO_ENGAGEMENT))
        names = [columns.VIDEO_AGG_LIKED_SHARE, columns.VIDEO_AGG_VIEWS]
        last = source.filter(pl.col(columns.EVENT_TIMESTAMP) <= as_of).sort(columns.EVENT_TIMESTAMP)
        last = last.unique(columns.VIDEO_ID, keep="last").select(columns.VIDEO_ID, *names)
        videos = pl.DataFrame({columns.VIDEO_ID: self.video_id}).join(
            last, on=columns.VIDEO_ID, how="left", maintain_order="left"
        )
        pairs = videos.select(pl.struct(pl.col(names).fill_null(0).cast(pl.Float32))).to_series()
        return pairs.rank("dense").to_numpy().astype(np.int64)

    def lists(self, name: str, most: int, *, ties_by_id: bool = False) -> dict[int, list[int]]:
        """Each user's videos, best first, those scored 0 left out."""
        source = SOURCES[name]
        scores = source.over(source.fit(self._past, self._settings), self._catalogue).scores(self._histories)
        received = np.zeros(len(self.video_id)) if ties_by_id else self._catalogue.received
        found = {}
        for row, user in enumerate(self.user_id.tolist()):
            of_user = np.where(self.opened[row] & (scores[row] > 0), scores[row], -np.inf)
            best = np.lexsort((-received, -of_user))[:most]
            found[user] = self.video_id[best[of_user[best] > 0]].tolist()
        return found


def test_rows_name_the_sources_among_whose_best_their_video_is(home: Settings) -> None:
    lists = _published(home)
    fallback = lists.filter(pl.col("source") != HYBRID)
    assert fallback.height and fallback["candidate_sources"].null_count() == fallback.height
    rows = lists.filter(pl.col("source") == HYBRID)
    alone = _Alone(home, _as_of(home))
    for name in home.retrieval.sources.split(","):
        best = alone.lists(name, home.retrieval.source_k)
        for user, video, names in rows.select(
            columns.USER_ID, columns.VIDEO_ID, "candidate_sources"
        ).iter_rows():
            assert (name in (names or "").split(",")) == (video in best[user]), (name, user, video)


def test_what_a_source_scores_alike_is_taken_by_how_well_it_was_received(home: Settings) -> None:
    """Few plays are liked here, so that many videos tie for the last of a source's room."""
    changes: dict[str, object] = {"data.targets.like_threshold": 6.0, "lists.exclude.seen": False}
    lists = _lists(home, CUT, length=40, **changes)
    alone = _Alone(home.changed(changes), CUT)
    decided = set()
    for name in home.retrieval.sources.split(","):
        best = alone.lists(name, home.retrieval.source_k)
        decided |= {name} if best != alone.lists(name, home.retrieval.source_k, ties_by_id=True) else set()
        for user, video, source, names in zip(
            lists.user_id.tolist(),
            lists.video_id.tolist(),
            lists.source,
            lists.candidate_sources,
            strict=True,
        ):
            if source == HYBRID:
                assert (name in names.split(",")) == (video in best[user]), (name, user, video)
    assert {"ease_played", "item_knn"} <= decided


@pytest.fixture(scope="module")
def backtested(home: Settings) -> Backtest:
    backtest(home)
    found = Backtest.load(home.paths)
    assert found is not None and len(found.days) == home.evaluation.backtest_days
    return found


def _of_day(settings: Settings, day: BacktestDay, system: str) -> pl.DataFrame:
    return pl.read_parquet(lists_file(settings.paths, day.day, system)).sort(columns.USER_ID, columns.RANK)


def test_past_days_have_lists_of_each_objective_and_of_each_source_alone(
    home: Settings, backtested: Backtest
) -> None:
    sources = [f"source_{name}" for name in home.retrieval.sources.split(",")]
    assert backtested.systems[:3] == ("hybrid", "hybrid_next_day", "hybrid_shown")
    assert list(backtested.systems[-len(sources) :]) == sources
    assert not backtested.remarks
    for day in backtested.days:
        published = _of_day(home, day, "hybrid")
        assert published.equals(_of_day(home, day, "hybrid_next_day"))
        assert not published.equals(_of_day(home, day, "hybrid_shown"))


def test_a_source_alone_lists_what_it_scores_highest_of_what_was_not_played(
    home: Settings, backtested: Backtest
) -> None:
    day = backtested.days[-1]
    alone = _Alone(home, day.as_of)
    for name in home.retrieval.sources.split(","):
        lists = _of_day(home, day, f"source_{name}")
        found = dict(lists.group_by(columns.USER_ID, maintain_order=True).agg(columns.VIDEO_ID).iter_rows())
        expected = alone.lists(name, 200)
        # Users who have played everything are listed nothing: only videos new to them are judged.
        of_some = zip(alone.user_id.tolist(), alone.has_all.tolist(), strict=True)
        for user, has_all in of_some:
            assert found.get(user, []) == ([] if has_all else expected[user]), (name, user)


def test_the_hybrid_of_shown_pairs_is_that_of_a_model_of_this_objective(
    home: Settings, backtested: Backtest
) -> None:
    day = backtested.days[0]
    ranker = HybridRanker.load(model_registry.champion(home.paths).folder)
    candidates = find_candidates(home, open_store(), day.as_of)
    ids = (candidates.user_id, candidates.video_id)
    joined = join_features(open_store(), ranker.encoding, *ids, as_of=day.as_of, zone=home.data.zone)
    lists = Lists.concatenate(score_users(candidates, joined, ranker, home))
    own = lists.source != REWATCH
    published = pl.DataFrame(
        {name: getattr(lists, name)[own] for name in (columns.USER_ID, columns.RANK, columns.VIDEO_ID)}
    )
    found = _of_day(home, day, "hybrid_shown").filter(pl.col(columns.RANK) <= home.lists.top_k)
    assert found.join(published, on=columns.USER_ID, how="semi").equals(published)


def test_a_model_alone_orders_all_candidates(home: Settings, backtested: Backtest) -> None:
    day = backtested.days[-1]
    folder = model_registry.champion(home.paths).folder
    for model in ("classifier", "regressor"):
        alone = dataclasses.replace(
            NextDayRanker.load(folder, BACKTEST), order=Blend.alone(model), shrinkage=Shrinkage()
        )
        lists = _lists(home, day.as_of, ranker_of=lambda _, alone=alone: alone, **{"ranker.filter_k": 1_000})
        own = np.isin(lists.source, [HYBRID])
        expected = pl.DataFrame(
            {name: getattr(lists, name)[own] for name in (columns.USER_ID, columns.RANK, columns.VIDEO_ID)}
        )
        found = _of_day(home, day, model).filter(pl.col(columns.RANK) <= home.lists.top_k)
        assert found.join(expected, on=columns.USER_ID, how="semi").equals(expected)


def test_a_backtest_reads_each_day_of_the_log_once_whatever_its_days(
    home: Settings, backtested: Backtest, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counting(function):
        def counted(source, *rest, **options):
            sources = source if isinstance(source, list | tuple) else [source]
            paths = [Path(one) for one in sources if isinstance(one, str | Path)]
            read.extend(path for path in paths if "interactions" in path.parts)
            return function(source, *rest, **options)

        return counted

    for module, name in ((pl, "scan_parquet"), (pl, "read_parquet"), (pq, "ParquetFile")):
        monkeypatch.setattr(module, name, counting(getattr(module, name)))
    assert backtest(home, force=True).summary["lists_made"] == len(backtested.systems) * len(backtested.days)
    assert sorted(read) == sorted((home.paths.interactions).glob("*/*.parquet"))


def test_threads_blocks_and_parts_change_no_list(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    once = _lists(home, CUT)
    monkeypatch.setattr("scoring.lists.next_day._BLOCK_USERS", 5)
    for again in (_lists(home, CUT, threads=3), _lists(home, CUT, part_users=7)):
        for name, values in vars(once).items():
            assert np.array_equal(values, getattr(again, name), equal_nan=values.dtype.kind == "f"), name


def test_a_longer_list_begins_like_a_short_one_and_holds_all_videos(home: Settings) -> None:
    every = _lists(home, CUT, **{"lists.top_k": 10_000, "ranker.filter_k": 10_000})
    candidates = find_candidates(home, open_store(), CUT)
    opened = candidates.open_to(slice(None)).sum(axis=1)
    assert np.array_equal(np.unique(every.user_id, return_counts=True)[1], opened)


@pytest.mark.parametrize(("top_k", "filter_k"), [(6, 12), (12, 3), (12, 1_000)])
@pytest.mark.parametrize("caps", [{}, {"lists.max_per.author": 3}])
def test_what_a_backtest_judges_begins_with_what_is_published(
    top_k: int, filter_k: int, caps: dict[str, int], home: Settings
) -> None:
    changes = {"lists.top_k": top_k, "ranker.filter_k": filter_k, **caps}
    published, judged = (_lists(home, CUT, length=length, **changes) for length in (None, 35))
    of_judged = judged.rows(np.flatnonzero(judged.rank <= top_k))
    for name in ("user_id", "rank", "video_id"):
        assert np.array_equal(getattr(published, name), getattr(of_judged, name)), name
    longest = np.unique(judged.user_id, return_counts=True)[1].max()
    assert longest == 35 if not caps else longest > top_k
    pairs = np.stack([judged.user_id, judged.video_id])
    assert np.unique(pairs, axis=1).shape == pairs.shape


def test_where_the_classifier_knows_nothing_the_order_decides_what_is_kept(home: Settings) -> None:
    def without_classifier(ranker: NextDayRanker) -> NextDayRanker:
        nothing = lgb.Dataset(np.zeros((10, len(ranker.names))), np.arange(10) % 2)
        constant = lgb.train({"objective": "binary", "verbose": -1}, nothing, 1)
        order = Blend({"regressor": 1.0}, {"regressor": 0.0}, {"regressor": 1.0})
        return dataclasses.replace(ranker, models={**ranker.models, "classifier": constant}, order=order)

    few, every = (
        _lists(home, CUT, ranker_of=without_classifier, **{"lists.top_k": 6}, **{"ranker.filter_k": filter_k})
        for filter_k in (6, 10_000)
    )
    assert len(np.unique(few.classifier_score)) == 1
    assert np.array_equal(few.score, every.score)


def test_caps_hold(home: Settings) -> None:
    lists = _lists(home, CUT, **{"lists.max_per.author": 1})
    profile = pl.read_parquet(home.paths.feature_source(columns.VIDEO_PROFILE))
    author = dict(
        profile.sort(columns.EVENT_TIMESTAMP)
        .filter(pl.col(columns.EVENT_TIMESTAMP) <= CUT)
        .group_by(columns.VIDEO_ID)
        .agg(pl.col(columns.AUTHOR_ID).drop_nulls().last())
        .iter_rows()
    )
    for user in np.unique(lists.user_id):
        own = [author[video] for video in lists.video_id[lists.user_id == user].tolist()]
        known = [one for one in own if one is not None and one >= 0]
        assert len(known) == len(set(known))


@pytest.fixture(scope="module")
def two_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Rows and lists as of CUT from a log, and from one with other plays from CUT on."""
    before = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < CUT)
    after = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) >= CUT)
    other = after.with_columns(
        pl.col(columns.VIDEO_ID).reverse(),
        (4 - pl.col(columns.WATCH_RATIO)).alias(columns.WATCH_RATIO).cast(pl.Float32),
    )
    found: dict[str, object] = {}
    for name, log in (
        ("as it was", LOG),
        ("another future", LOG.with_interactions(pl.concat([before, other]))),
        ("another past", LOG.with_interactions(pl.concat([before.tail(-400), after]))),
    ):
        with pytest.MonkeyPatch.context() as patch:
            settings = make_feature_home(
                tmp_path_factory.mktemp("future") / "home", log, patch, more_settings=NEXT_DAY_SETTINGS
            )
            data = TrainingData.join(open_store(), settings)
            found[name] = night_rows(data.plays, open_store(), data.encoding, CUT, settings)
    return found


def test_rows_of_past_nights_are_the_same_whatever_happens_after_them(two_logs: dict[str, object]) -> None:
    was, other = two_logs["as it was"], two_logs["another future"]
    assert was.names == other.names
    assert np.array_equal(was.features, other.features, equal_nan=True)
    assert np.array_equal(was.liked, other.liked)
    assert was.liked.any()


def test_another_past_gives_other_rows(two_logs: dict[str, object]) -> None:
    was, other = two_logs["as it was"], two_logs["another past"]
    assert was.features.shape != other.features.shape or not np.array_equal(
        was.features, other.features, equal_nan=True
    )


def test_a_rows_own_outcome_reaches_none_of_its_features(two_logs: dict[str, object]) -> None:
    """The plays of a night's own day are targets: the last night's rows know none of them."""
    was = two_logs["as it was"]
    last = was.until_us == was.until_us.max()
    liked, features = was.liked[last].astype(float), was.features[last]
    for number, name in enumerate(was.names):
        values = np.nan_to_num(features[:, number])
        if values.std() and liked.std():
            assert abs(np.corrcoef(values, liked)[0, 1]) < 0.9, name


def test_the_backtests_rankers_know_no_row_of_its_days(two_logs: dict[str, object]) -> None:
    was = two_logs["as it was"]
    instant = CUT - timedelta(days=2)
    early = was.before(instant)
    assert early is not None
    assert (early.until_us <= round(instant.timestamp() * 1_000_000)).all()
    assert len(early.liked) < len(was.liked)
    assert was.before(instant - timedelta(days=365)) is None
