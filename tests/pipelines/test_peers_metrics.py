"""The figures that benchmarks/peers.py judges lists by, against ir-measures and by hand."""

import ir_measures
import numpy as np
import pandas as pd
import pytest

from benchmarks.list_metrics import METRICS, pooled, table, user_figures
from benchmarks.peer_logs import feed_day, held_out

PLAYS = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"


def _lists(rows):
    return pd.DataFrame(rows, columns=["user_id", "video_id", "rank"])


def _pairs(rows):
    return pd.DataFrame(rows, columns=["user_id", "video_id"])


def test_figures_are_those_of_ir_measures():
    random = np.random.default_rng(3)
    lists = _lists(
        [(u, v, r) for u in range(40) for r, v in enumerate(random.permutation(300)[:100].tolist(), 1)]
    )
    relevant = _pairs(
        [(u, v) for u in range(40) for v in random.permutation(300)[: random.integers(1, 40)].tolist()]
    )
    mine = user_figures(lists, relevant, micro_recall=False).mean()
    measures = [ir_measures.nDCG @ 10, ir_measures.R @ 20, ir_measures.R @ 100, ir_measures.P @ 20]
    theirs = ir_measures.calc_aggregate(
        measures,
        [ir_measures.Qrel(str(u), str(v), 1) for u, v in relevant.itertuples(index=False)],
        [ir_measures.ScoredDoc(str(u), str(v), -float(r)) for u, v, r in lists.itertuples(index=False)],
    )
    assert mine == pytest.approx([theirs[measure] for measure in measures])


def test_micro_recall_counts_pairs_and_a_user_without_a_list_has_missed_all():
    lists = _lists([(1, 10, 1), (1, 11, 2)])
    relevant = _pairs([(1, 11), (2, 10), (2, 11), (2, 12)])
    micro = dict(zip(METRICS, user_figures(lists, relevant, micro_recall=True).mean(), strict=True))
    macro = dict(zip(METRICS, user_figures(lists, relevant, micro_recall=False).mean(), strict=True))
    assert micro["recall@20"] == 1 / 4
    assert macro["recall@20"] == 1 / 2
    assert micro["NDCG@10"] == pytest.approx(1 / np.log2(3) / 2)
    assert micro["P@20"] == 1 / 20 / 2


def test_gaps_in_ranks_do_not_count_and_a_video_named_twice_is_refused():
    figures = user_figures(_lists([(1, 10, 90), (1, 11, 95)]), _pairs([(1, 11)]), micro_recall=True)
    assert figures.above[0, 0] == pytest.approx(1 / np.log2(3))
    with pytest.raises(ValueError, match="twice"):
        user_figures(_lists([(1, 10, 1), (1, 10, 2)]), _pairs([(1, 10)]), micro_recall=True)


def test_the_difference_is_paired_and_days_are_pooled_by_user():
    relevant = _pairs([(u, v) for u in range(30) for v in range(u % 3 + 1)])
    good = user_figures(_lists([(u, 0, 1) for u in range(30)]), relevant, micro_recall=True)
    bad = user_figures(_lists([(u, 7, 1) for u in range(30)]), relevant, micro_recall=True)
    rows = table({"ours": good, "peer": bad, "twin": good}, "ours")
    assert rows["difference"]["recall@20"] | {"share": None} == {
        "value": 0.0,
        "low": 0.0,
        "high": 0.0,
        "best_peer": "twin",
        "share": None,
    }
    both = pooled([good, bad])
    assert len(both.user) == 30
    assert both.mean()[1] == pytest.approx(good.mean()[1] / 2)


def test_held_out_pairs_are_liked_new_and_of_known_users(tmp_path):
    row = "{},{},1,1,,20220425,1650000000,{}\n"
    big = [(1, 10, 2.0), (1, 11, 0.1), (2, 10, "")]
    small = [(1, 10, 2.0), (1, 12, 2.0), (1, 13, 1.0), (3, 12, 2.0), (2, 12, 2.0), (3, 14, 0.1)]
    (tmp_path / "big_matrix.csv").write_text(PLAYS + "".join(row.format(*one) for one in big))
    (tmp_path / "small_matrix.csv").write_text(PLAYS + "".join(row.format(*one) for one in small))
    question = held_out("q", tmp_path, 1.0)
    assert question.relevant.to_numpy().tolist() == [[1, 12]]
    assert question.plays.liked.tolist() == [True, False]
    lists = _lists([(1, 14, 1), (1, 12, 2)])
    assert question.judged(lists).equals(lists)  # half of the pairs are not there, so a missing one is a miss


def test_a_fully_observed_matrix_judges_only_the_videos_that_it_knows(tmp_path):
    row = "{},{},1,1,,20220425,1650000000,2.0\n"
    (tmp_path / "big_matrix.csv").write_text(PLAYS + row.format(1, 10) + row.format(2, 10))
    pairs = [(user, video) for user in (1, 2) for video in (11, 12, 13)]
    (tmp_path / "small_matrix.csv").write_text(PLAYS + "".join(row.format(*pair) for pair in pairs))
    question = held_out("q", tmp_path, 1.0)
    judged = question.judged(_lists([(1, 90, 1), (1, 12, 2), (2, 91, 1)]))
    assert judged.to_numpy().tolist() == [[1, 12, 2]]
    figures = user_figures(judged, question.relevant, micro_recall=False)
    assert figures.user.tolist() == [1, 2]
    assert figures.above[:, 3].tolist() == [1 / 20, 0]


def test_a_feeds_day_is_cut_off_with_all_that_follows(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = [
        "1,10,900,1000,,20220425,1650000000,0.9",
        "1,11,18000,90000,,20220426,1650000000,0.2",  # a long view
        "1,10,1000,1000,,20220426,1650000000,1.0",  # played before
        "2,10,1000,1000,,20220426,1650000000,1.0",
        "2,10,1000,1000,,20220426,1650000000,1.0",  # the same once more
        "2,12,1000,1000,,20220427,1650000000,1.0",  # another day
    ]
    (raw / "big_matrix.csv").write_text(PLAYS + "\n".join(rows) + "\n")
    (raw / "item_daily_features.csv").write_text("video_id,date\n10,20220425\n10,20220426\n")
    question = feed_day("q", raw, 20220426, tmp_path / "work")
    assert question.relevant.to_numpy().tolist() == [[1, 11], [2, 10]]
    assert pd.read_csv(question.raw / "big_matrix.csv").date.tolist() == [20220425]
    assert pd.read_csv(question.raw / "item_daily_features.csv").date.tolist() == [20220425]
    assert not question.plays.liked.any()
