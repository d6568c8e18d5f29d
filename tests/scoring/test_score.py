"""Lists as the cascade says: a plain sort of Feast's own rows gives the same, whatever the size of blocks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.open_store import store as open_store
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.model_rows.ordering import best_positions
from pipelines.rankers import FeatureEncoding, HybridRanker, hybrid_order
from pipelines.rankers.blend import Blend
from pipelines.rankers.hybrid import ORDERED_BY
from pipelines.rankers.shrinkage import Shrinkage
from scoring.lists import score
from scoring.lists.candidates import Candidates, Cap
from scoring.lists.eligibility import find_candidates
from scoring.lists.parts import work_of_shown
from scoring.lists.rows import HYBRID, POPULAR, REWATCH, Lists
from scoring.lists.score import score_users, trace_of_user, users_to_trace
from tests.fixtures.scored_home import AS_OF, NEVER_PLAYED, SEEN_ALL, make_scored_home, scoring_log

LOG = scoring_log()


@dataclass(frozen=True)
class Scored:
    settings: Settings
    ranker: HybridRanker
    candidates: Candidates
    joined: JoinedFeatures
    lists: Lists

    def again(self, **changes: object) -> Lists:
        settings = self.settings.changed(changes)
        return Lists.concatenate(score_users(self.candidates, self.joined, self.ranker, settings))

    def of(self, user: int, lists: Lists | None = None) -> Lists:
        lists = lists or self.lists
        return Lists(*(column[lists.user_id == user] for column in vars(lists).values()))


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scored]:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_scored_home(tmp_path_factory.mktemp("score") / "home", patch)
        ranker = HybridRanker.load(model_registry.champion(settings.paths).folder, threads=1)
        store = open_store()
        candidates = find_candidates(settings, store, AS_OF)
        joined = join_features(
            store,
            ranker.encoding,
            candidates.user_id,
            candidates.video_id,
            as_of=AS_OF,
            zone=settings.data.zone,
        )
        lists = Lists.concatenate(score_users(candidates, joined, ranker, settings))
        yield Scored(settings, ranker, candidates, joined, lists)


@pytest.fixture(scope="module")
def feast_rows(scored: Scored) -> np.ndarray:
    """Every pair's features as Feast itself joins and computes them: [users, videos, features]."""
    users, videos = scored.candidates.user_id, scored.candidates.video_id
    entities = pl.DataFrame(
        {columns.USER_ID: np.repeat(users, len(videos)), columns.VIDEO_ID: np.tile(videos, len(users))}
    ).with_columns(
        pl.lit(AS_OF, dtype=pl.Datetime("us", "UTC")).alias(columns.EVENT_TIMESTAMP),
        pl.lit(AS_OF, dtype=pl.Datetime("us", "UTC")).alias(columns.INTERACTION_TIMESTAMP),
    )
    store = open_store()
    service = store.get_feature_service(columns.HYBRID_RANKER)
    joined = store.get_historical_features(entity_df=entities.to_arrow(), features=service).to_arrow()
    encoding = scored.ranker.encoding
    return encoding.encode(joined, encoding.names).reshape(len(users), len(videos), -1)


def test_composed_pairs_equal_feasts_own_rows(scored: Scored, feast_rows: np.ndarray) -> None:
    joined = scored.joined
    pairs = np.full_like(feast_rows, np.inf)
    for position, of_videos in joined.video_columns().items():
        pairs[..., position] = of_videos
    for position, of_users in joined.user_columns(np.arange(len(pairs))).items():
        pairs[..., position] = of_users[:, None]
    for user in range(len(pairs)):
        pairs[user, :, joined.als_index] = joined.als_scores(user)
    others = joined.pair_grid(np.arange(len(pairs)))
    for position, of_pairs in zip(joined.pair_indices[1:], others, strict=True):
        pairs[..., position] = of_pairs
    np.testing.assert_allclose(pairs, feast_rows, rtol=1e-5, atol=1e-6)
    assert 0 < np.isnan(pairs[..., joined.als_index]).mean() < 1


def test_lists_equal_a_plain_sort_of_every_candidate(scored: Scored, feast_rows: np.ndarray) -> None:
    settings, candidates = scored.settings, scored.candidates
    sources = set()
    for position, user in enumerate(candidates.user_id.tolist()):
        found = scored.of(user)
        if not candidates.has_history[position]:
            continue
        open_to = np.flatnonzero(candidates.open_to(np.array([position]))[0])
        rows, videos = feast_rows[position][open_to], candidates.video_id[open_to]
        probability, expected = scored.ranker.classify(rows), scored.ranker.regress(rows)
        order = hybrid_order(probability, expected, videos, settings.ranker.filter_k)[: settings.lists.top_k]
        np.testing.assert_array_equal(found.video_id, videos[order])
        np.testing.assert_array_equal(found.rank, np.arange(1, len(order) + 1))
        np.testing.assert_allclose(found.score, expected[order])
        np.testing.assert_allclose(found.regressor_score, expected[order])
        np.testing.assert_allclose(found.classifier_score, probability[order])
        np.testing.assert_allclose(found.als_score, rows[order, scored.joined.als_index], rtol=1e-5)
        sources |= set(found.source)
    assert sources == {HYBRID, REWATCH}


@pytest.mark.parametrize("candidates", ["all", "als,popular,fresh,content_based"])
def test_a_classifier_that_ties_leaves_the_filter_to_the_regressor(
    scored: Scored, feast_rows: np.ndarray, candidates: str
) -> None:
    constant = lgb.train(
        {"objective": "binary", "verbose": -1, "num_leaves": 2},
        lgb.Dataset(np.zeros((50, len(scored.ranker.feature_names)), np.float32), np.zeros(50)),
        num_boost_round=1,
    )
    settings = scored.settings.changed(
        {"ranker.filter_k": scored.settings.lists.top_k, "retrieval.candidates": candidates}
    )
    ranker = replace(scored.ranker, classifier=constant)
    lists = replace(scored, ranker=ranker, settings=settings).again()
    assert len(np.unique(lists.classifier_score[lists.source == HYBRID])) == 1
    if candidates != "all":
        return
    for position, user in enumerate(scored.candidates.user_id.tolist()):
        found = scored.of(user, lists)
        if not scored.candidates.has_history[position]:
            continue
        open_to = np.flatnonzero(scored.candidates.open_to(np.array([position]))[0])
        expected = scored.ranker.regress(feast_rows[position][open_to])
        received = scored.joined.received()[open_to]
        best = np.lexsort((scored.candidates.video_id[open_to], -received, -expected))
        best = best[: settings.lists.top_k]
        np.testing.assert_array_equal(found.video_id, scored.candidates.video_id[open_to][best])


def test_where_als_score_helps_the_regressor_the_sum_orders(scored: Scored, feast_rows: np.ndarray) -> None:
    order = Blend(
        dict(zip(ORDERED_BY, (1.0, 2.0), strict=True)),
        dict(zip(ORDERED_BY, (0.6, 0.3), strict=True)),
        dict(zip(ORDERED_BY, (0.2, 0.4), strict=True)),
    )
    helped = replace(scored, ranker=replace(scored.ranker, order=order))
    lists, candidates = helped.again(), scored.candidates
    assert not np.array_equal(lists.video_id, scored.lists.video_id)
    for position, user in enumerate(candidates.user_id.tolist()):
        found = scored.of(user, lists)
        if not candidates.has_history[position]:
            continue
        open_to = np.flatnonzero(candidates.open_to(np.array([position]))[0])
        rows, videos = feast_rows[position][open_to], candidates.video_id[open_to]
        probability, expected = scored.ranker.classify(rows), scored.ranker.regress(rows)
        ordering = helped.ranker.ordering(expected, rows[:, scored.joined.als_index])
        best = hybrid_order(probability, ordering, videos, scored.settings.ranker.filter_k)[
            : scored.settings.lists.top_k
        ]
        np.testing.assert_array_equal(found.video_id, videos[best])
        np.testing.assert_allclose(found.score, ordering[best], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.regressor_score, expected[best])


def test_what_is_personal_counts_as_much_as_it_is_worth(scored: Scored, feast_rows: np.ndarray) -> None:
    """Users of short histories are listed by the mean over all users, the others as before."""
    candidates, settings = scored.candidates, scored.settings
    plays = scored.joined.user_feature(columns.USER_AGG_INTERACTIONS)
    border = float(np.nanmedian(plays))
    lists = _shrunk(scored, border).again()
    common = np.mean([scored.ranker.regress(feast_rows[user]) for user in _warm(scored)], axis=0)
    changed = 0
    for position, user in enumerate(candidates.user_id.tolist()):
        found, before = scored.of(user, lists), scored.of(user)
        if not candidates.has_history[position] or plays[position] >= border:
            np.testing.assert_array_equal(found.video_id, before.video_id)
            continue
        open_to = np.flatnonzero(candidates.open_to(np.array([position]))[0])
        probability = scored.ranker.classify(feast_rows[position][open_to])
        videos, ordering = candidates.video_id[open_to], common[open_to]
        best = hybrid_order(probability, ordering, videos, settings.ranker.filter_k)[: settings.lists.top_k]
        np.testing.assert_array_equal(found.video_id, videos[best])
        np.testing.assert_allclose(found.score, ordering[best])
        changed += not np.array_equal(found.video_id, before.video_id)
    assert changed


def test_parts_blocks_and_traces_shrink_alike(
    scored: Scored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list depends on the users over whom what orders is averaged, wherever it is made."""
    shrunk = _shrunk(scored, np.inf)
    whole = shrunk.again()
    monkeypatch.setattr(score, "USER_BLOCK", 3)
    for again in (shrunk.again(), shrunk.again(threads=2)):
        np.testing.assert_array_equal(again.video_id, whole.video_id)
        np.testing.assert_array_equal(again.score, whole.score)
    shrunk.ranker.save(tmp_path / "model")
    work = work_of_shown(scored.candidates, scored.joined, tmp_path / "model", scored.settings)
    lists_of = work.common.opened()
    parts = [lists_of(work.part(slice(start, start + 5))) for start in range(0, work.users, 5)]
    np.testing.assert_array_equal(np.concatenate([part.video_id for part in parts]), whole.video_id)
    np.testing.assert_array_equal(np.concatenate([part.score for part in parts]), whole.score)
    user = int(_warm(scored)[0])
    chosen, followed = users_to_trace(scored.candidates, shrunk.ranker, user, scored.settings.seed)
    candidates = scored.candidates.of_users(chosen)
    joined = join_features(
        open_store(),
        scored.ranker.encoding,
        candidates.user_id,
        candidates.video_id,
        as_of=AS_OF,
        zone=scored.settings.data.zone,
    )
    at = int(np.searchsorted(chosen, followed))
    trace = trace_of_user(candidates, joined, shrunk.ranker, scored.settings, own=None, user=at)
    listed = scored.of(int(scored.candidates.user_id[user]), whole).video_id
    np.testing.assert_array_equal(candidates.video_id[trace.listed], listed)


def _shrunk(scored: Scored, border: float) -> Scored:
    """What is personal counts nothing for users of fewer plays."""
    return replace(scored, ranker=replace(scored.ranker, shrinkage=Shrinkage((border,), (0.0, 1.0))))


def _warm(scored: Scored) -> np.ndarray:
    return np.flatnonzero(scored.candidates.has_history)


def test_a_user_without_history_gets_the_best_received_videos(scored: Scored) -> None:
    found = scored.of(NEVER_PLAYED)
    assert set(found.source) == {POPULAR}
    assert np.isnan(found.classifier_score).all() and np.isnan(found.als_score).all()
    engagement = (
        pl.read_parquet(scored.settings.paths.feature_source(columns.VIDEO_ENGAGEMENT))
        .filter(pl.col(columns.EVENT_TIMESTAMP) <= AS_OF)
        .filter(pl.col(columns.VIDEO_ID).is_in(scored.candidates.video_id.tolist()))
        .group_by(columns.VIDEO_ID)
        .agg(pl.all().sort_by(columns.EVENT_TIMESTAMP).last())
        .sort(
            [columns.VIDEO_AGG_LIKED_SHARE, columns.VIDEO_AGG_VIEWS, columns.VIDEO_ID],
            descending=[True, True, False],
        )
        .head(scored.settings.lists.top_k)
    )
    assert found.video_id.tolist() == engagement[columns.VIDEO_ID].to_list()
    np.testing.assert_array_equal(found.score, engagement[columns.VIDEO_AGG_LIKED_SHARE].to_numpy())


def test_who_has_seen_everything_gets_the_hybrids_order_of_it(scored: Scored) -> None:
    found = scored.of(SEEN_ALL)
    assert set(found.source) == {REWATCH}
    assert len(found) == scored.settings.lists.top_k
    assert np.isfinite(found.regressor_score).all()


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_neither_blocks_nor_threads_change_a_list(
    scored: Scored, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "USER_BLOCK", block)
    again = scored.again(threads=block % 3 + 1)
    for name, column in vars(scored.lists).items():
        np.testing.assert_array_equal(column, vars(again)[name])


def test_a_list_is_as_long_as_there_are_videos(scored: Scored) -> None:
    long = scored.again(**{"lists.top_k": 1000})
    open_to = scored.candidates.open_to(slice(None)).sum(axis=1)
    for user, available in zip(scored.candidates.user_id.tolist(), open_to, strict=True):
        assert len(scored.of(user, long)) == available


def _greedy(order: list[int], caps: tuple[Cap, ...], k: int) -> list[int]:
    """The rule said plainly: a video is taken where no cap would be exceeded."""
    taken: list[int] = []
    for position in order:
        fits = all(
            cap.group[position] < 0 or sum(cap.group[p] == cap.group[position] for p in taken) < cap.most
            for cap in caps
        )
        if fits and len(taken) < k:
            taken.append(position)
    return taken


@pytest.mark.parametrize("filter_k", [12, 1000])
def test_caps_pass_over_what_has_no_room_and_leave_no_list_short(scored: Scored, filter_k: int) -> None:
    videos = len(scored.candidates.video_id)
    author = np.random.default_rng(3).integers(-1, 12, videos)
    caps = (Cap("max_per_author", 1, author), Cap("max_per_category", 3, np.arange(videos) % 4))
    capped = replace(scored, candidates=replace(scored.candidates, caps=caps))
    lists = capped.again(**{"ranker.filter_k": filter_k})
    everything = scored.again(**{"lists.top_k": 1000, "ranker.filter_k": 1000})
    lengths = set()
    for position, user in enumerate(scored.candidates.user_id.tolist()):
        found = scored.of(user, lists)
        order = np.searchsorted(scored.candidates.video_id, scored.of(user, everything).video_id)
        positions = np.searchsorted(scored.candidates.video_id, found.video_id).tolist()
        if filter_k == 1000 or not scored.candidates.has_history[position]:
            assert positions == _greedy(order.tolist(), caps, scored.settings.lists.top_k)
        rest = [other for other in order.tolist() if other not in positions]
        assert (
            len(positions) == scored.settings.lists.top_k
            or _greedy([*positions, *rest], caps, 99) == positions
        )
        assert (np.diff(found.score) <= 0).all()
        lengths.add(len(positions))
    assert scored.settings.lists.top_k in lengths


def test_a_model_of_other_features_is_refused(scored: Scored) -> None:
    encoding = scored.ranker.encoding
    other = FeatureEncoding(encoding.names[:-1], encoding.categories)
    one = np.array([1])
    with pytest.raises(InputError, match=encoding.names[-1]):
        join_features(open_store(), other, one, one, as_of=AS_OF, zone=scored.settings.data.zone)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 70),
)
def test_the_filter_keeps_what_a_stable_sort_would(videos: list[tuple[float, bool]], keep: int) -> None:
    probability = np.array([value for value, _ in videos])
    open_to = np.array([is_open for _, is_open in videos])
    in_order = sorted(np.flatnonzero(open_to).tolist(), key=lambda position: -probability[position])
    assert best_positions(probability, open_to, keep).tolist() == sorted(in_order[:keep])
