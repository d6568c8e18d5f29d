"""A union of sources instead of all videos: as large as set, what each source promises, scored the same."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from feature_repo.open_store import store as open_store
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry
from pipelines.model_rows.joined_features import JoinedFeatures, join_features
from pipelines.rankers import HybridRanker
from scoring.database.publish import score_and_publish
from scoring.lists.candidates import Candidates, Cap
from scoring.lists.eligibility import find_candidates
from scoring.lists.retrieval import Retrieval, top_rated
from scoring.lists.rows import Lists
from scoring.lists.score import score_users
from scoring.lists.seen_bits import SeenBits
from tests.fixtures.scored_home import AS_OF, SEEN_ALL, make_scored_home

Night = tuple[Settings, HybridRanker, Candidates, JoinedFeatures]
SOURCES = {
    "retrieval.candidates": "als,popular,fresh,content_based",
    # A union of 16 of the 40 videos.
    "lists.top_k": 4,
    "ranker.filter_k": 4,
}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with pytest.MonkeyPatch.context() as patch:
        settings = make_scored_home(tmp_path_factory.mktemp("retrieval") / "home", patch)
        ranker = HybridRanker.load(model_registry.champion(settings.paths).folder, threads=1)
        store = open_store()
        candidates = find_candidates(settings, store, AS_OF)
        ids = (candidates.user_id, candidates.video_id)
        joined = join_features(store, ranker.encoding, *ids, as_of=AS_OF, zone=settings.data.zone)
        # Nobody here has seen so much that no choice is left.
        seen = np.unpackbits(candidates.seen.of(slice(None)), axis=1)
        seen[candidates.user_id != SEEN_ALL, ::2] = 0
        yield settings, ranker, replace(candidates, seen=SeenBits(np.packbits(seen, axis=1))), joined


def _lists(night: Night, **changes: object) -> Lists:
    settings, ranker, candidates, joined = night
    return Lists.concatenate(score_users(candidates, joined, ranker, settings.changed(changes)))


def _retrieval(night: Night, **changes: object) -> Retrieval:
    settings, _, candidates, joined = night
    found = Retrieval.of(candidates, joined, settings.changed({**SOURCES, **changes}))
    assert found is not None
    return found


@pytest.mark.parametrize("nearest", ["als", "als_approximate"])
def test_a_user_gets_as_many_candidates_as_set_none_of_them_closed(night: Night, nearest: str) -> None:
    _, _, candidates, joined = night
    retrieval = _retrieval(night, **{"retrieval.candidates": f"{nearest},popular,fresh,content_based"})
    for user in range(len(candidates.user_id)):
        open_to = candidates.open_to(np.array([user]))[0]
        positions, brought_by = retrieval.of_user(candidates.open_videos(user), joined.user_factors[user])
        assert len(brought_by) == len(positions) and (brought_by < 2 ** len(retrieval.names)).all()
        assert len(positions) == min(16, open_to.sum())
        assert open_to[positions].all() and (np.diff(positions) > 0).all()


def test_each_source_alone_gives_what_it_promises_first(night: Night) -> None:
    _, _, candidates, joined = night
    about = candidates.about
    assert about is not None
    user = int(np.flatnonzero(candidates.has_history)[3])
    open_to = candidates.open_to(np.array([user]))[0]
    als = joined.als_scores(user)
    positions = np.flatnonzero(open_to)

    def chosen(source: str) -> set[int]:
        retrieval = _retrieval(night, **{"retrieval.candidates": source})
        videos, _ = retrieval.of_user(candidates.open_videos(user), joined.user_factors[user])
        return set(videos.tolist())

    known = positions[~np.isnan(als[positions])]
    nearest = known[np.argsort(-als[known], kind="stable")][:16]
    assert set(nearest.tolist()) <= chosen("als")
    popular = top_rated(candidates, joined)
    assert chosen("popular") == set(popular[open_to[popular]][:16].tolist())
    newest = np.sort(about.uploaded_us[positions])[::-1][:16]
    fresh = list(chosen("fresh"))
    assert sorted(about.uploaded_us[fresh], reverse=True) == newest.tolist()
    seen = np.flatnonzero(~open_to)

    def likeness(video: int) -> tuple[int, int]:
        """Seen videos of the same author, then of the same category; what is unknown (-1) is like nothing."""
        same = (
            int((of[seen] == of[video]).sum()) * int(of[video] >= 0) for of in (about.author, about.category)
        )
        return next(same), next(same)

    by_author = sorted((likeness(video)[0] for video in positions.tolist()), reverse=True)[:16]
    similar = sorted(map(likeness, chosen("content_based")), reverse=True)
    assert [of_author for of_author, _ in similar] == by_author
    others = [likeness(video)[1] for video in positions.tolist() if not likeness(video)[0]]
    by_category = sorted(others, reverse=True)[: by_author.count(0)]
    assert sorted((of for author, of in similar if not author), reverse=True) == by_category


def test_a_candidates_scores_are_those_that_it_has_among_all(night: Night) -> None:
    lists = _lists(night, **{"lists.top_k": 100, "ranker.filter_k": 100})
    names = ("user_id", "video_id", "classifier_score", "regressor_score")
    rows = zip(*(getattr(lists, name).tolist() for name in names), strict=True)
    every = {(user, video): scores for user, video, *scores in rows}
    some = _lists(night, **SOURCES)
    for row in np.flatnonzero(some.source == "hybrid").tolist():
        wanted = every[int(some.user_id[row]), int(some.video_id[row])]
        assert [some.classifier_score[row], some.regressor_score[row]] == wanted


def test_a_row_names_the_sources_that_give_its_video_when_each_is_asked_alone(night: Night) -> None:
    _, _, candidates, joined = night
    lists = _lists(night, **SOURCES)
    retrieval = _retrieval(night)
    share = retrieval.size // len(retrieval.names)
    named = lists.candidate_sources[lists.source == "hybrid"]
    assert {len(one.split(",")) for one in named.tolist() if one} > {1}
    assert set(lists.candidate_sources[lists.source != "hybrid"].tolist()) == {""}
    for user in range(len(candidates.user_id)):
        own = (lists.user_id == candidates.user_id[user]) & (lists.source == "hybrid")
        opened = candidates.open_videos(user)
        for name in retrieval.names:
            alone = replace(retrieval, names=(name,), size=share)
            videos, _ = alone.of_user(opened, joined.user_factors[user])
            rows = zip(lists.video_id[own].tolist(), lists.candidate_sources[own].tolist(), strict=True)
            for video, names in rows:
                at = int(np.searchsorted(candidates.video_id, video))
                # If a source alone finds too little, popular videos fill its list.
                if name in names.split(","):
                    assert at in videos
                elif at in videos:
                    assert name != "popular"


def test_where_every_video_is_scored_no_source_is_named(night: Night) -> None:
    assert set(_lists(night).candidate_sources.tolist()) == {""}


def test_a_catalogue_that_is_no_larger_is_scored_whole(night: Night) -> None:
    all_videos, union = (
        _lists(night),
        _lists(night, **{"retrieval.candidates": SOURCES["retrieval.candidates"]}),
    )
    for name, column in vars(all_videos).items():
        np.testing.assert_array_equal(column, getattr(union, name))


def test_lists_are_full_within_caps_that_the_union_has_no_room_for(night: Night) -> None:
    settings, ranker, candidates, joined = night
    about = candidates.about
    assert about is not None
    capped = replace(candidates, caps=(Cap("max_per_author", 1, about.author),))
    found = _lists((settings, ranker, capped, joined), **SOURCES)
    authors = len(np.unique(about.author))
    counts = np.unique(found.user_id, return_counts=True)[1]
    assert counts.max() <= authors
    assert np.isfinite(found.score).all()


def test_a_run_of_sources_passes_every_audit_and_is_another_run_than_that_of_all(
    night: Night, tmp_path: Path
) -> None:
    settings = night[0].changed({"database.url": SecretStr(f"sqlite:///{tmp_path / 'lists.sqlite'}")})
    all_videos = settings.changed(SOURCES | {"retrieval.candidates": "all"})
    everything = score_and_publish(all_videos, as_of=AS_OF, publish=True).summary
    union = score_and_publish(settings.changed(SOURCES), as_of=AS_OF, publish=True)
    assert not union.skipped
    assert union.summary["rows_by_source"] == everything["rows_by_source"]


@pytest.mark.parametrize("value", ["none", "als,als", "all,als", ""])
def test_unknown_sources_are_refused(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTREEL_RETRIEVAL_CANDIDATES", value)
    with pytest.raises(InputError, match="als, als_approximate, popular, fresh, content_based"):
        load_settings()
