"""The seven synthetic files have KuaiRec's columns, codes and traps, and belong together."""

import csv
import re
from pathlib import Path

import polars as pl
import pytest

from synthetic import synthesize

USERS, VIDEOS = 1_000, 2_000

MATRIX = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
HEADERS = {
    "big_matrix.csv": MATRIX,
    "small_matrix.csv": MATRIX,
    "user_features.csv": (
        "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
        "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,"
        "register_days,register_days_range," + ",".join(f"onehot_feat{i}" for i in range(18))
    ),
    "item_categories.csv": "video_id,feat",
    "social_network.csv": "user_id,friend_list",
    "kuairec_caption_category.csv": (
        "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name,"
        "second_level_category_id,second_level_category_name,third_level_category_id,"
        "third_level_category_name"
    ),
    "item_daily_features.csv": (
        "video_id,date,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,video_width,"
        "video_height,music_id,video_tag_id,video_tag_name,show_cnt,show_user_num,play_cnt,play_user_num,"
        "play_duration,complete_play_cnt,complete_play_user_num,valid_play_cnt,valid_play_user_num,"
        "long_time_play_cnt,long_time_play_user_num,short_time_play_cnt,short_time_play_user_num,"
        "play_progress,comment_stay_duration,like_cnt,like_user_num,click_like_cnt,double_click_cnt,"
        "cancel_like_cnt,cancel_like_user_num,comment_cnt,comment_user_num,direct_comment_cnt,"
        "reply_comment_cnt,delete_comment_cnt,delete_comment_user_num,comment_like_cnt,"
        "comment_like_user_num,follow_cnt,follow_user_num,cancel_follow_cnt,cancel_follow_user_num,"
        "share_cnt,share_user_num,download_cnt,download_user_num,report_cnt,report_user_num,"
        "reduce_similar_cnt,reduce_similar_user_num,collect_cnt,collect_user_num,cancel_collect_cnt,"
        "cancel_collect_user_num"
    ),
}
# Mean and quartiles of KuaiRec's daily counts.
DAILY = {
    "show_cnt": (94_246, 55, 1_328, 24_190),
    "play_cnt": (94_188, 14, 628, 20_671),
    "complete_play_cnt": (50_754, 4, 208, 8_954),
    "like_cnt": (2_781, 0, 9, 421),
    "comment_cnt": (130.5, 0, 0, 9),
    "follow_cnt": (302.6, 0, 1, 39),
    "share_cnt": (80.4, 0, 0, 3),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic")
    synthesize(out, users=USERS, videos=VIDEOS, interactions=60_000, seed=7)
    return out


@pytest.fixture(scope="module")
def daily(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "item_daily_features.csv", infer_schema_length=None)


def _rows(path: Path) -> list[dict[str, str]]:
    """As a parser reads it that, like Python's own, takes a bare carriage return for the end of a row."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _captions(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "kuairec_caption_category.csv", infer_schema_length=None)


def test_there_are_seven_files(folder: Path) -> None:
    """And nothing else, where no truth is asked for."""
    assert {path.name for path in folder.iterdir()} == set(HEADERS)


@pytest.mark.parametrize("name", HEADERS)
def test_columns_are_kuairecs_in_its_order(folder: Path, name: str) -> None:
    """Exactly, for each file."""
    with (folder / name).open(encoding="utf-8") as file:
        assert file.readline().rstrip("\n") == HEADERS[name]


def test_every_row_speaks_of_users_and_videos_in_the_side_files(folder: Path, daily: pl.DataFrame) -> None:
    """All four side files know all users or all videos, once each."""
    users = pl.read_csv(folder / "user_features.csv")["user_id"].to_list()
    videos = pl.read_csv(folder / "item_categories.csv")["video_id"].to_list()
    assert users == list(range(USERS))
    assert videos == list(range(VIDEOS))
    assert _captions(folder)["video_id"].to_list() == videos
    assert set(daily["video_id"]) == set(videos)
    for name in ("big_matrix.csv", "small_matrix.csv"):
        matrix = pl.read_csv(folder / name)
        assert set(matrix["user_id"]) <= set(users)
        assert set(matrix["video_id"]) <= set(videos)


def test_a_video_has_one_length_and_is_watched_only_after_its_first_day(
    folder: Path, daily: pl.DataFrame
) -> None:
    """In both matrices; the daily file has the same length where it has one."""
    plays = pl.concat(
        pl.read_csv(folder / name, columns=["video_id", "video_duration", "date"]).cast({"date": pl.Float64})
        for name in ("big_matrix.csv", "small_matrix.csv")
    )
    lengths = plays.group_by("video_id").agg(pl.col("video_duration").unique())
    assert lengths["video_duration"].list.len().max() == 1
    known = daily.group_by("video_id").agg(
        pl.col("date").min().alias("first"), pl.col("video_duration").max()
    )
    joined = plays.join(known, on="video_id")
    assert joined.filter(pl.col("date") < pl.col("first")).is_empty()
    assert joined.filter(pl.col("video_duration") != pl.col("video_duration_right")).is_empty()


def test_daily_rows_are_one_a_video_and_day(daily: pl.DataFrame) -> None:
    """As many as KuaiRec's 343,341 for its 10,728 videos, never two for a day, none outside of the 63."""
    assert daily.height == round(343_341 * VIDEOS / 10_728)
    assert daily.n_unique(["video_id", "date"]) == daily.height
    assert daily["date"].is_between(20200705, 20200905).all()
    assert (daily["upload_dt"].str.replace_all("-", "").cast(pl.Int64) <= daily["date"]).all()


@pytest.mark.parametrize("name", DAILY)
def test_daily_counts_have_kuairecs_heavy_tails(daily: pl.DataFrame, name: str) -> None:
    """Mean within 25 %, quartiles within 25 % or two, the highest over a hundred times the mean."""
    mean, *quartiles = DAILY[name]
    counts = daily[name]
    assert counts.mean() == pytest.approx(mean, rel=0.25)
    found = [counts.quantile(q) for q in (0.25, 0.5, 0.75)]
    assert found == pytest.approx(quartiles, rel=0.25, abs=2)
    assert counts.max() > 100 * mean


def test_daily_play_progress_is_spread_as_in_kuairec(daily: pl.DataFrame) -> None:
    """.379 | .118 / .354 / .636, each within .05; never over 1."""
    progress = daily["play_progress"]
    found = [progress.mean(), *(progress.quantile(q) for q in (0.25, 0.5, 0.75))]
    assert found == pytest.approx([0.379, 0.118, 0.354, 0.636], abs=0.05)
    assert progress.max() <= 1


def test_daily_counts_that_contain_each_other_do(daily: pl.DataFrame) -> None:
    """No more users than times, plays than shows, or complete plays than plays."""
    for name in [column for column in daily.columns if column.endswith("_user_num")]:
        times = daily[name.replace("_user_num", "_cnt")]
        assert (daily[name] <= times).fill_null(True).all(), name
    assert (daily["play_cnt"] <= daily["show_cnt"]).all()
    assert (daily["complete_play_cnt"] <= daily["play_cnt"]).all()


def test_daily_nulls_and_codes_are_kuairecs(daily: pl.DataFrame) -> None:
    """Nulls of six columns near KuaiRec's shares, none elsewhere; few AD, few hidden, 18 upload types."""
    expected = {"video_duration": 10_598, "video_tag_name": 32_434} | dict.fromkeys(
        ("collect_cnt", "collect_user_num", "cancel_collect_cnt", "cancel_collect_user_num"), 69_683
    )
    shares = {name: daily[name].null_count() / daily.height for name in daily.columns}
    assert {name for name, share in shares.items() if share} == set(expected)
    for name, count in expected.items():
        assert shares[name] == pytest.approx(count / 343_341, abs=0.025), name
    assert set(daily["video_type"]) == {"NORMAL", "AD"}
    assert 0.98 < (daily["visible_status"] == "public").mean() < 1
    assert 15 <= daily["upload_type"].n_unique() <= 18
    assert (daily["upload_type"] == "ShortImport").mean() == pytest.approx(0.588, abs=0.05)


def test_user_codes_and_nulls_are_kuairecs(folder: Path) -> None:
    """Active degrees in KuaiRec's shares; onehot codes up to its maxima; nulls in feat4 and feat12 to 17."""
    users = pl.read_csv(folder / "user_features.csv", infer_schema_length=None)
    degrees = dict(users["user_active_degree"].value_counts().iter_rows())
    assert degrees == {"full_active": 849, "high_active": 131, "UNKNOWN": 16, "middle_active": 4}
    most = [users[f"onehot_feat{i}"].max() for i in range(18)]
    limits = [1, 7, 29, 1075, 11, 9, 2, 46, 339, 6, 4, 2, 1, 1, 1, 1, 1, 1]
    assert all(found <= limit for found, limit in zip(most, limits, strict=True))
    assert most[3] > 1_000
    assert most[8] == 339
    nulls = {i: users[f"onehot_feat{i}"].null_count() / USERS for i in range(18)}
    assert {i for i, share in nulls.items() if share} == {4, *range(12, 18)}
    assert nulls[4] == pytest.approx(201 / 7176, abs=0.015)
    assert nulls[12] == pytest.approx(77 / 7176, abs=0.008)
    assert -124 in users["is_live_streamer"]
    assert not set(users["is_live_streamer"]) <= {0, 1}


def test_captions_break_a_naive_parser(folder: Path) -> None:
    """More lines than videos, more rows to Python's csv; quotes, commas and line breaks within."""
    path = folder / "kuairec_caption_category.csv"
    assert path.read_bytes().count(b"\n") > VIDEOS + 1
    assert VIDEOS < len(_rows(path)) < VIDEOS + 20
    captions = _captions(folder)["caption"]
    assert captions.len() == VIDEOS
    for quirk in ('"', ",", "\n", "\r"):
        assert captions.str.contains(quirk, literal=True).any(), quirk
    assert captions.drop_nulls().len() / VIDEOS == pytest.approx(9_377 / 10_728, abs=0.03)
    text = "".join(captions.drop_nulls())
    assert len(re.findall(r"[一-鿿]", text)) > 0.6 * len(text)


def test_missing_categories_are_unknown_and_minus_124(folder: Path) -> None:
    """Always both together; about a third of the second level and 64 % of the third, as in KuaiRec."""
    table = _captions(folder)
    for level, share in (("first", 0.004), ("second", 0.334), ("third", 0.637)):
        number, name = table[f"{level}_level_category_id"], table[f"{level}_level_category_name"]
        assert ((number == -124) == (name == "UNKNOWN")).all()
        assert (number == -124).mean() == pytest.approx(share, abs=0.035), level
        assert name.n_unique() == number.n_unique()
    assert (table["manual_cover_text"] == "UNKNOWN").mean() == pytest.approx(0.624, abs=0.035)


def test_lists_are_written_as_in_kuairec(folder: Path) -> None:
    """Tags `[27, 9]`, 31 of them, 1 to 4 a video; friends `[1,2]`, 1 to 5; topic tags `[a,b]`."""
    tags = [row["feat"] for row in _rows(folder / "item_categories.csv")]
    assert all(re.fullmatch(r"\[\d+(, \d+){0,3}\]", text) for text in tags)
    numbers = {int(number) for text in tags for number in re.findall(r"\d+", text)}
    assert numbers <= set(range(31))
    assert len(numbers) == 31
    network = _rows(folder / "social_network.csv")
    assert len(network) == round(USERS * 472 / 7_176)
    for row in network:
        assert re.fullmatch(r"\[\d+(,\d+){0,4}\]", row["friend_list"])
        friends = {int(number) for number in re.findall(r"\d+", row["friend_list"])}
        assert friends < set(range(USERS)) - {int(row["user_id"])}
    topics = _captions(folder)["topic_tag"]
    assert all(re.fullmatch(r"\[[^\[\]\" ]*\]", text) for text in topics)
    assert any("," in text for text in topics)
