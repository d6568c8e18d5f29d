"""Files dropped in `raw_dir/incoming` join the raw files once; a bad one is set aside and told of."""

import os
from pathlib import Path

import pytest

from nightreel.incoming import take_in
from nightreel.settings import Settings

PLAYS = (
    "user_id,video_id,play_duration,video_duration,time,timestamp,watch_ratio\n"
    "1,10,1000,2000,,1594000000.5,0.5\n"
    "2,11,3000,2000,,1594000001,1.5\n"
)
DAILY = "video_id,date,show_cnt,play_cnt,like_cnt\n10,20200705,5,4,1\n11,20200705,9,7,2\n"
USERS = "user_id,user_active_degree\n1,full_active\n2,high_active\n"
CAPTIONS = 'video_id,caption,topic_tag\n10,"a, b","[x, y]"\n11,猫,[]\n'


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    raw = tmp_path / "raw"
    (raw / "incoming").mkdir(parents=True)
    for name, text in {
        "big_matrix": PLAYS,
        "item_daily_features": DAILY,
        "user_features": USERS,
        "kuairec_caption_category": CAPTIONS,
    }.items():
        (raw / f"{name}.csv").write_text(text, encoding="utf-8")
    return Settings(home=tmp_path, raw_dir=raw)


def _drop(home: Settings, name: str, text: str) -> Path:
    path = home.raw_dir / "incoming" / name
    path.write_text(text, encoding="utf-8")
    return path


def _raw(home: Settings, name: str) -> list[str]:
    return (home.raw_dir / f"{name}.csv").read_text(encoding="utf-8").splitlines()


def _folder(home: Settings, name: str) -> list[str]:
    folder = home.raw_dir / "incoming" / name
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_nothing_dropped_changes_nothing(home: Settings) -> None:
    assert take_in(home).skipped
    (home.raw_dir / "incoming").rmdir()
    assert take_in(home).skipped


def test_new_plays_are_added_and_old_ones_are_not(home: Settings) -> None:
    _drop(home, "big_matrix_2.csv", PLAYS + "3,10,500,2000,,1594000002,0.25\n")
    result = take_in(home)
    assert result.summary["rows"] == 1 and result.summary["remarks"] == []
    assert _raw(home, "big_matrix") == [*PLAYS.splitlines(), "3,10,500,2000,,1594000002,0.25"]
    assert _folder(home, "taken") == ["big_matrix_2.csv"]


def test_a_file_delivered_twice_changes_not_even_the_raw_files_time(home: Settings) -> None:
    more = PLAYS.splitlines()[0] + "\n3,10,500,2000,,1594000002,0.25\n"
    for _ in range(2):
        _drop(home, "big_matrix_2.csv", more)
        before = (home.raw_dir / "big_matrix.csv").stat().st_mtime_ns
        result = take_in(home)
    assert result.summary["rows"] == 0
    assert (home.raw_dir / "big_matrix.csv").stat().st_mtime_ns == before
    assert _folder(home, "taken") == ["big_matrix_2.2.csv", "big_matrix_2.csv"]


def test_columns_may_stand_in_another_order_and_others_are_left_out(home: Settings) -> None:
    _drop(
        home,
        "big_matrix_x.csv",
        "timestamp,extra,watch_ratio,video_duration,play_duration,video_id,user_id\n1594000009,?,0.5,4,2,7,8\n",
    )
    assert take_in(home).summary["rows"] == 1
    assert _raw(home, "big_matrix")[-1] == "8,7,2,4,,1594000009,0.5"


def test_a_record_of_a_known_key_replaces_it_and_the_later_delivery_stays(home: Settings) -> None:
    first = _drop(home, "user_features_b.csv", "user_id,user_active_degree\n2,first\n3,new\n")
    second = _drop(home, "user_features_a.csv", "user_id,user_active_degree\n2,second\n")
    os.utime(first, ns=(1, 1))
    os.utime(second, ns=(2, 2))
    take_in(home)
    assert sorted(_raw(home, "user_features")[1:]) == ["1,full_active", "2,second", "3,new"]
    _drop(
        home, "item_daily_features_6.csv", DAILY.splitlines()[0] + "\n11,20200705,1,1,1\n11,20200706,2,2,2\n"
    )
    take_in(home)
    assert sorted(_raw(home, "item_daily_features")[1:]) == [
        "10,20200705,5,4,1",
        "11,20200705,1,1,1",
        "11,20200706,2,2,2",
    ]


def test_captions_with_commas_quotes_and_breaks_come_through(home: Settings) -> None:
    _drop(home, "kuairec_caption_category_new.csv", 'video_id,caption\n12,"say ""hi"",\nthere"\n')
    assert take_in(home).summary["rows"] == 1
    text = (home.raw_dir / "kuairec_caption_category.csv").read_text(encoding="utf-8")
    assert text == CAPTIONS + '12,"say ""hi"",\nthere",\n'


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("notes.csv", "a,b\n1,2\n", "what is it"),
        ("big_matrix_1.csv", "user_id,video_id\n1,2\n", "no column"),
        ("big_matrix_2.csv", "", "empty"),
        ("big_matrix_3.csv", PLAYS + "x,10,1,2,,1594000002,0.5\n", "rejected"),
        ("big_matrix_4.csv", PLAYS + '3,"10,1,2', "quote"),
    ],
)
def test_a_bad_file_is_set_aside_with_its_reason_and_the_others_are_taken(
    home: Settings, name: str, text: str, why: str
) -> None:
    _drop(home, name, text)
    _drop(home, "user_features_2.csv", "user_id,user_active_degree\n9,new\n")
    before = _raw(home, "big_matrix")
    result = take_in(home)
    assert result.summary["rows"] == 1
    assert [name in remark and "set aside" in remark for remark in result.summary["remarks"]] == [True]
    assert _raw(home, "big_matrix") == before
    assert _folder(home, "set_aside") == [name, f"{name}.reason.txt"]
    reason = (home.raw_dir / "incoming" / "set_aside" / f"{name}.reason.txt").read_text(encoding="utf-8")
    assert why in reason
    assert _folder(home, "taken") == ["user_features_2.csv"]


def test_few_bad_rows_are_left_out_and_told_of(home: Settings) -> None:
    generous = home.model_copy(update={"max_reject_share": 0.5})
    _drop(home, "big_matrix_3.csv", PLAYS + "x,10,1,2,,1594000002,0.5\n4,10,1,2,,1594000003,0.5\n")
    result = take_in(generous)
    assert result.summary["rows"] == 1
    assert "1 of 4 rows rejected; line 4" in result.summary["remarks"][0]
    assert _raw(home, "big_matrix")[-1].startswith("4,10")


def test_a_file_not_yet_whole_waits(home: Settings) -> None:
    _drop(home, ".big_matrix_5.csv", PLAYS)
    _drop(home, "big_matrix_5.csv.part", PLAYS)
    assert take_in(home).skipped


def test_the_raw_files_may_lie_in_a_folder_of_raw_dir(home: Settings) -> None:
    (home.raw_dir / "KuaiRec").mkdir()
    for path in home.raw_dir.glob("*.csv"):
        path.rename(home.raw_dir / "KuaiRec" / path.name)
    _drop(home, "big_matrix.csv", PLAYS + "3,10,500,2000,,1594000002,0.25\n")
    assert take_in(home).wrote == (home.raw_dir / "KuaiRec" / "big_matrix.csv",)


def test_a_first_delivery_makes_the_raw_file(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "incoming").mkdir(parents=True)
    home = Settings(home=tmp_path, raw_dir=raw)
    _drop(home, "big_matrix.csv", PLAYS)
    assert take_in(home).summary["rows"] == 2
    assert _raw(home, "big_matrix") == PLAYS.splitlines()
