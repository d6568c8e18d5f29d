"""Ingest through its step and its tables: nothing is lost, nothing wrong gets in, refusals say where."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nightreel.core import columns
from nightreel.core.checksums import files_below
from nightreel.core.errors import InputError
from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings
from pipelines.ingest import csv_inspection, csv_reading, ingest
from pipelines.ingest.formats import Form
from pipelines.ingest.raw_files import BIG_MATRIX
from tests.fixtures.raw_log import BIG_HEADER, BIG_ROWS, CAPTION_HEADER, RawLog
from tests.fixtures.tables import read_table

SHARED = Path(__file__).parents[3] / "shared"
BIG, SMALL, CAPTIONS = columns.BIG_MATRIX_FILE, columns.SMALL_MATRIX_FILE, columns.CAPTION_FILE
DAILY, USERS = columns.ITEM_DAILY_FILE, columns.USER_FEATURES_FILE


def _settings(home: Path, raw: Path, **changes: object) -> Settings:
    return Settings.model_validate({"home": home, "data.raw_dir": raw, **changes})


@pytest.fixture
def raw(tmp_path: Path) -> RawLog:
    return RawLog()


def _ingested(raw: RawLog, folder: Path, **changes: object) -> Settings:
    found = _settings(folder / "home", raw.write(folder / "raw"), **changes)
    ingest(found)
    return found


def _table(settings: Settings, name: str) -> pl.DataFrame:
    return read_table(settings, name)


def _rejects(settings: Settings, file: str) -> list[tuple[int, str, str]]:
    return pl.read_parquet(settings.paths.rejects / f"{Path(file).stem}.parquet").rows()


def _refused(raw: RawLog, folder: Path, **changes: object) -> str:
    with pytest.raises(InputError) as refused:
        _ingested(raw, folder, **changes)
    assert refused.value.remedy
    assert not (folder / "home" / "data" / "tables").exists()
    return str(refused.value)


def test_plays_are_stored_in_utc_sorted_by_time(raw: RawLog, tmp_path: Path) -> None:
    """00:08:23.438 of 5 July in Shanghai is 16:08:23.438 of 4 July in UTC, as `timestamp` says."""
    plays = _table(_ingested(raw, tmp_path), "interactions")
    assert plays.columns == [
        "user_id",
        "video_id",
        "event_timestamp",
        "play_duration",
        "video_duration",
        "watch_ratio",
        "created_timestamp",
    ]
    assert plays.row(0)[:5] == (15, 148, datetime(2020, 7, 4, 16, 8, 23, 438_000, UTC), 3000, 6067)
    assert plays["event_timestamp"].is_sorted()
    assert plays.schema["event_timestamp"] == pl.Datetime("us", "UTC")


def test_unquoted_line_breaks_unknown_and_minus_124_are_understood(raw: RawLog, tmp_path: Path) -> None:
    captions = _table(_ingested(raw, tmp_path), "video_captions")
    assert captions.drop("created_timestamp").rows() == [
        (148, None, '他说"好"，\n第二行', ["美食", "做饭"], 8, "颜值", 673, "颜值随拍", None, None),
        (149, "封面", "一 二", [], 1, "颜值", None, None, None, None),
        (183, "封面", None, [], None, None, None, None, None, None),
    ]


def test_side_tables_have_all_documented_columns_typed(raw: RawLog, tmp_path: Path) -> None:
    made = _ingested(raw, tmp_path)
    daily = _table(made, "video_daily")
    assert daily.drop("created_timestamp").width == 58
    assert daily["date"].to_list() == [date(2020, 7, 5), date(2020, 7, 6), date(2020, 7, 5)]
    assert daily["video_duration"].to_list() == [6067, 6067, None]
    assert daily["collect_cnt"].null_count() == 3
    users = _table(made, "users")
    assert users["onehot_feat4"].to_list() == [None, 3, 3]
    assert users["user_active_degree"].to_list() == ["full_active", "UNKNOWN", "high_active"]
    assert _table(made, "video_categories")["feat"].to_list() == [[27, 9], [8]]
    assert _table(made, "social_network")["friend_list"].to_list() == [[15, 16]]


def test_a_play_of_small_matrix_without_time_is_kept(raw: RawLog, tmp_path: Path) -> None:
    assert _table(_ingested(raw, tmp_path), "fully_observed")["event_timestamp"].null_count() == 1


def test_exact_duplicates_are_set_apart_with_their_line_and_text(raw: RawLog, tmp_path: Path) -> None:
    raw.files[BIG] += BIG_ROWS[0] + "\n" + BIG_ROWS[0].replace("4381", "4382") + "\n"
    made = _ingested(raw, tmp_path, **{"data.max_reject_share": 0})
    assert _table(made, "interactions").height == len(BIG_ROWS) + 1
    assert _rejects(made, BIG) == [(6, "duplicate", BIG_ROWS[0])]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("block_bytes", [1, 7, 64, 8 * 2**20])
def test_the_text_of_duplicates_is_found_wherever_blocks_of_the_file_end(
    raw: RawLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line_end: str, block_bytes: int
) -> None:
    """In the midst, at the end, and on a last line that has no end; after a night's rows too."""
    raw.files[BIG] = line_end.join((BIG_HEADER, *BIG_ROWS, BIG_ROWS[0], BIG_ROWS[3], BIG_ROWS[1]))
    made = _settings(tmp_path / "home", raw.write(tmp_path / "raw"), **{"data.max_reject_share": 0})
    rows = pl.Series([2, 6, 8])
    with monkeypatch.context() as patch:
        for module in (csv_inspection, csv_reading):
            patch.setattr(module, "BLOCK_BYTES", block_bytes)
        header = csv_inspection.inspect_csv(made.data.raw_dir / BIG, BIG_MATRIX, Form(), tmp_path)
        assert csv_reading.lines_of(header, rows).to_list() == [
            BIG_ROWS[0],
            BIG_ROWS[0],
            BIG_ROWS[1],
        ]
    ingest(made)
    expected = [(6, BIG_ROWS[0]), (7, BIG_ROWS[3]), (8, BIG_ROWS[1])]
    assert [(line, text) for line, _, text in _rejects(made, BIG)] == expected


def test_a_second_row_of_one_key_is_rejected_and_the_first_stays(raw: RawLog, tmp_path: Path) -> None:
    raw.files[DAILY] += "148,20200705,9,NORMAL,2020-07-01,public,6067.0,1,1,1\n"
    made = _ingested(raw, tmp_path, **{"data.max_reject_share": 0.5})
    assert _rejects(made, DAILY)[0][:2] == (5, "a second row of one video_id, date")
    assert _table(made, "video_daily").filter(pl.col("video_id") == 148)["author_id"].to_list() == [7, 7]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("0.722103", "abc", 'column watch_ratio: "abc" is not a number'),
        ("0.722103", "", "column watch_ratio: no value"),
        ("0.722103", "inf", 'column watch_ratio: "inf" is not a number'),
        ("0.722103", "-1", 'column watch_ratio: "-1" is below 0'),
        ("4381", "4381.5", 'column play_duration: "4381.5" is not a whole number up to 2147483647'),
        ("4381", "99999999999", 'column play_duration: "99999999999" is not a whole number up to 2147483647'),
        ("14,148", "x14,148", 'column user_id: "x14" is not a whole number'),
        ("1593898068.378", "1593898068378", 'column timestamp: "1593898068378" is not Unix seconds'),
        ("14,148,4381,6067", "14,148,4381,0", 'column video_duration: "0" is below 1'),
        (",20200705,1593898068.378", "", "6 fields where the header has 8"),
    ],
)
def test_a_bad_row_is_kept_with_line_reason_and_text(
    raw: RawLog, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    made = _ingested(raw.spoil(BIG, old, new), tmp_path, **{"data.max_reject_share": 0.5})
    ((line, reason, text),) = _rejects(made, BIG)
    assert (line, text) == (2, BIG_ROWS[0].replace(old, new))
    assert reason.startswith(problem)
    assert _table(made, "interactions").height == len(BIG_ROWS) - 1


def test_too_many_rejects_stop_the_run_and_say_where_and_what_to_do(raw: RawLog, tmp_path: Path) -> None:
    said = _refused(raw.spoil(BIG, "0.722103", "abc"), tmp_path)
    assert f'{BIG}, line 2, column watch_ratio: "abc" is not a number. 1 of 4 rows (25.00%)' in said
    assert "max_reject_share = 0.25" in said
    kept = pl.read_parquet(tmp_path / "home" / "data" / "rejects" / "big_matrix.parquet")
    assert kept["line"].to_list() == [2]


def test_the_share_that_the_error_names_lets_the_run_through(raw: RawLog, tmp_path: Path) -> None:
    raw.files[BIG] += "".join(f"{user}{BIG_ROWS[0][2:]}\n" for user in range(100, 700))
    raw.spoil(BIG, "\n101,148,4381", "\n101,148,x")
    said = _refused(raw, tmp_path, **{"data.max_reject_share": 0.001})
    _ingested(raw, tmp_path, **{"data.max_reject_share": float(said.rsplit("= ", 1)[1].rstrip("."))})


def test_lines_are_those_of_the_file_after_quoted_breaks_blank_and_broken_rows(
    raw: RawLog, tmp_path: Path
) -> None:
    raw.files[CAPTIONS] += "\n1,2\n" + "x,封面,,[],-124,UNKNOWN,-124,UNKNOWN,-124,UNKNOWN\n"
    made = _ingested(raw, tmp_path, **{"data.max_reject_share": 0.9})
    lines = raw.files[CAPTIONS].split("\n")
    assert [(line, lines[line - 1]) for line, _, _ in _rejects(made, CAPTIONS)] == [
        (7, "1,2"),
        (8, "x,封面,,[],-124,UNKNOWN,-124,UNKNOWN,-124,UNKNOWN"),
    ]


def test_time_is_read_from_local_time_where_timestamp_is_missing(raw: RawLog, tmp_path: Path) -> None:
    wanted = _table(_ingested(raw, tmp_path / "both"), "interactions")
    raw.files[BIG] = "\n".join(
        ",".join(line.split(",")[:6] + line.split(",")[7:]) for line in raw.files[BIG].split("\n")
    )
    assert _table(_ingested(raw, tmp_path / "one"), "interactions").equals(wanted)


def test_marks_of_order_and_windows_line_ends_change_nothing(raw: RawLog, tmp_path: Path) -> None:
    wanted = _table(_ingested(raw, tmp_path / "plain"), "interactions")
    raw.files[BIG] = "\ufeff" + raw.files[BIG].replace("\n", "\r\n")
    assert _table(_ingested(raw, tmp_path / "windows"), "interactions").equals(wanted)


@pytest.mark.parametrize("block_bytes", [311, 500, 1000])
def test_where_blocks_of_the_file_end_changes_nothing(
    raw: RawLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    raw.files[BIG] += (
        "".join(f"{user}{BIG_ROWS[0][2:]}\n1,2\n" for user in range(100, 130)) + BIG_ROWS[1] + "\n"
    )
    wanted = _ingested(raw, tmp_path / "whole", **{"data.max_reject_share": 0.9})
    for module in (csv_inspection, csv_reading):
        monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    found = _ingested(raw, tmp_path / "blocks", **{"data.max_reject_share": 0.9})
    for name in ("interactions", "video_captions", "video_daily", "fully_observed"):
        assert _table(found, name).equals(_table(wanted, name))
    assert _rejects(found, BIG) == _rejects(wanted, BIG)


_FIELD = st.text(st.sampled_from("a,\"\n 字[]'#\u2028"), max_size=12)


# Many texts at a time: reading the six other files takes longer than reading these.
@given(texts=st.lists(st.tuples(_FIELD, _FIELD), min_size=1, max_size=60))
@hypothesis_settings(max_examples=6, deadline=None)
def test_captions_are_read_as_python_csv_reads_them(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    # A column whose fields all are between apostrophes would be read as quoted by them, as it should be.
    texts = [("a", "a"), *texts]
    raw = RawLog()
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CAPTION_HEADER.split(","))
    writer.writerows(
        [number, cover, caption, "[]", *["-124", "UNKNOWN"] * 3]
        for number, (cover, caption) in enumerate(texts)
    )
    raw.files[CAPTIONS] = file.getvalue()
    made = _table(_ingested(raw, tmp_path_factory.mktemp("captions")), "video_captions")
    assert made.select("manual_cover_text", "caption").rows() == [
        (cover.strip() or None, caption.strip() or None) for cover, caption in texts
    ]


def test_a_missing_required_file_is_named(raw: RawLog, tmp_path: Path) -> None:
    del raw.files[BIG]
    assert f"no {BIG} there" in _refused(raw, tmp_path)


@pytest.mark.parametrize(
    ("file", "column"), [(BIG, "play_duration"), (DAILY, "show_cnt"), (USERS, "user_id"), (SMALL, "video_id")]
)
def test_a_missing_column_is_named_with_its_file(raw: RawLog, tmp_path: Path, file: str, column: str) -> None:
    said = _refused(raw.spoil(file, column, "other"), tmp_path)
    assert f"{file}, line 1: no column {column}" in said


def test_a_file_without_any_time_is_refused(raw: RawLog, tmp_path: Path) -> None:
    raw.files[BIG] = raw.files[BIG].replace("timestamp", "a").replace(",time,", ",b,")
    assert "no column timestamp or time" in _refused(raw, tmp_path)


def test_columns_between_semicolons_are_recognised(raw: RawLog, tmp_path: Path) -> None:
    raw.files[BIG] = raw.files[BIG].replace(",", ";")
    assert _table(_ingested(raw, tmp_path), "interactions").height == len(BIG_ROWS)


@pytest.mark.parametrize("cut", [1, 20, 45, 60, 70])
def test_a_file_that_was_cut_off_is_refused(raw: RawLog, tmp_path: Path, cut: int) -> None:
    """Cut in the last row: within its last number, before it, and at earlier fields."""
    raw.files[BIG] = raw.files[BIG][: -1 - cut]
    said = _refused(raw, tmp_path, **{"data.max_reject_share": 0.9})
    assert f"{BIG}, line 5: the file ends in the middle of a" in said


def test_a_whole_file_without_a_last_line_end_is_taken(raw: RawLog, tmp_path: Path) -> None:
    raw.files[BIG] = raw.files[BIG].removesuffix("\n")
    assert _table(_ingested(raw, tmp_path), "interactions").height == len(BIG_ROWS)


def test_a_quote_that_never_ends_is_refused(raw: RawLog, tmp_path: Path) -> None:
    raw.spoil(CAPTIONS, '第二行"', "第二行")
    assert f"{CAPTIONS}: an odd number of quotes" in _refused(raw, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04rest", "not a CSV but a zip archive"),
        (b"\x1f\x8b\x08rest", "compressed with gzip"),
        (b"<!DOCTYPE html><html></html>", "not a CSV but a web page"),
        (b"a,b\x00c\n", "a zero byte"),
        ((BIG_HEADER + "\n14,148,\u89c6\n").encode("gbk"), "line 2: not text in UTF-8"),
    ],
)
def test_what_is_no_csv_is_called_what_it_is(raw: RawLog, tmp_path: Path, content: bytes, said: str) -> None:
    folder = raw.write(tmp_path / "raw")
    (folder / BIG).write_bytes(content)
    with pytest.raises(InputError, match=BIG) as refused:
        ingest(_settings(tmp_path / "home", folder))
    assert said in str(refused.value)


def test_a_wrong_folder_is_named_with_the_remedy(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match="raw_dir"):
            ingest(_settings(tmp_path / "home", folder))


@pytest.mark.parametrize("inner", ["", "data", "KuaiRec 2.0/data"])
def test_the_unzipped_folder_or_any_above_it_will_do(raw: RawLog, tmp_path: Path, inner: str) -> None:
    raw.write(tmp_path / "raw" / inner)
    made = _settings(tmp_path / "home", tmp_path / "raw")
    ingest(made)
    assert _table(made, "interactions").height == len(BIG_ROWS)


def test_other_programs_read_the_plays_by_their_folder(raw: RawLog, tmp_path: Path) -> None:
    made = _ingested(raw, tmp_path)
    plays = str(made.paths.interactions)
    rows = _table(made, "interactions").height
    assert pl.read_parquet(plays).height == rows
    assert pl.read_parquet(f"{plays}/**/*").height == rows
    assert len(pd.read_parquet(plays)) == rows
    assert pq.read_table(plays).num_rows == rows
    assert duckdb.sql(f"FROM read_parquet('{plays}/**/*')").count("*").fetchall() == [(rows,)]


def test_a_failed_ingest_leaves_the_tables_as_they_were(raw: RawLog, tmp_path: Path) -> None:
    made = _ingested(raw, tmp_path)
    before = {path: path.read_bytes() for path in files_below(made.paths.tables)}
    raw.files[USERS] += "99,full_active,1,\n"
    raw.spoil(BIG, "0.722103", "abc")
    with pytest.raises(InputError):
        _ingested(raw, tmp_path)
    assert {path: path.read_bytes() for path in files_below(made.paths.tables)} == before


def test_optional_files_and_columns_may_be_missing_and_it_is_said(raw: RawLog, tmp_path: Path) -> None:
    made = _ingested(raw, tmp_path)
    for name in (SMALL, columns.SOCIAL_NETWORK_FILE, columns.ITEM_CATEGORIES_FILE):
        del raw.files[name]
        (made.data.raw_dir / name).unlink()
    raw.spoil(DAILY, "author_id", "writer").write(made.data.raw_dir)
    said = ingest(made).summary
    assert [entry["file"] for entry in said["not_there"]] == [
        columns.ITEM_CATEGORIES_FILE,
        columns.SOCIAL_NETWORK_FILE,
        SMALL,
    ]
    assert any("author_id" in entry["columns"] for entry in said["columns_not_there_and_left_empty"])
    assert _table(made, "video_daily")["author_id"].null_count() == 3
    assert not made.paths.table("fully_observed").exists()


def test_the_same_files_are_not_read_twice_and_other_ones_are(raw: RawLog, tmp_path: Path) -> None:
    made = _ingested(raw, tmp_path)
    assert ingest(made).skipped
    assert not ingest(made, force=True).skipped
    raw.files[BIG] += BIG_ROWS[0].replace("14,", "17,", 1) + "\n"
    raw.write(made.data.raw_dir)
    assert not ingest(made).skipped
    assert _table(made, "interactions").height == len(BIG_ROWS) + 1


@pytest.mark.parametrize("cut_rows", [1, 2, 3])
def test_a_log_that_grew_gives_what_reading_it_whole_gives(
    raw: RawLog, tmp_path: Path, cut_rows: int
) -> None:
    """With late, repeated and broken rows in the new part, and in the side files second rows of a key."""
    late = BIG_ROWS[2].replace("15,", "13,", 1)
    raw.files[BIG] += "\n".join(("1,2", BIG_ROWS[0], late, "x" + BIG_ROWS[1])) + "\n"
    raw.files[DAILY] += "148,20200705,9,NORMAL,2020-07-01,public,6067.0,1,1,1\n149,20200705,,,,,,1,1,1\n"
    raw.files[CAPTIONS] += '150,"a\nb",,[],-124,UNKNOWN,-124,UNKNOWN,-124,UNKNOWN\n1,2\n'
    whole = _ingested(raw, tmp_path / "whole", **{"data.max_reject_share": 0.9})
    grown = dict(raw.files)
    for name in (BIG, DAILY, CAPTIONS):
        raw.files[name] = "".join(line + "\n" for line in grown[name].split("\n")[: -1 - cut_rows])
    if cut_rows > 1:
        # In the middle of a quoted text there is no row to continue from.
        raw.files[CAPTIONS] = grown[CAPTIONS].split("150,")[0]
    made = _ingested(raw, tmp_path / "grown", **{"data.max_reject_share": 0.9})
    raw.files = grown
    raw.write(made.data.raw_dir)
    found = ingest(made)
    assert found.summary == ingest(whole, force=True).summary
    for name in ("interactions", "video_daily", "video_captions", "users", "fully_observed"):
        assert _table(made, name).equals(_table(whole, name)), name
    for name in (BIG, DAILY, CAPTIONS):
        assert _rejects(made, name) == _rejects(whole, name)


def test_only_what_is_new_is_read(raw: RawLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _ingested(raw, tmp_path)
    raw.files[BIG] += BIG_ROWS[0].replace("14,", "17,", 1) + "\n"
    (made.data.raw_dir / BIG).write_bytes(raw.files[BIG].encode())
    read: list[tuple[str, int]] = []

    def noting(path: Path, header: csv_inspection.Header) -> Iterator[csv_reading.TextBatch]:
        for batch in csv_reading.read_batches(path, header):
            read.append((path.name, batch.rows.height))
            yield batch

    monkeypatch.setattr("pipelines.ingest.tables.read_batches", noting)
    ingest(made)
    assert [entry for entry in read if entry[1]] == [(BIG, 1)]
    assert {name for name, _ in read} == {BIG}


@pytest.mark.parametrize("spoiled", ["raw", "table"])
def test_a_file_whose_past_changed_is_read_anew(raw: RawLog, tmp_path: Path, spoiled: str) -> None:
    made = _ingested(raw, tmp_path)
    if spoiled == "raw":
        raw.spoil(BIG, "14,148,4381", "99,148,4381")
    else:
        next(iter(files_by_day(made.paths.interactions).values())).write_bytes(b"")
    raw.files[BIG] += BIG_ROWS[0].replace("14,", "17,", 1) + "\n"
    raw.write(made.data.raw_dir)
    ingest(made)
    assert _table(made, "interactions").height == len(BIG_ROWS) + 1
    assert (99 in _table(made, "interactions")["user_id"]) == (spoiled == "raw")


def test_a_log_without_plays_is_refused(raw: RawLog, tmp_path: Path) -> None:
    raw.files[BIG] = BIG_HEADER + "\n"
    assert f"{BIG}: no rows" in _refused(raw, tmp_path)


@pytest.mark.skipif(not (SHARED / "kuairec" / "real").is_dir(), reason="../shared is not here")
def test_the_real_side_files_come_in_without_loss(raw: RawLog, tmp_path: Path) -> None:
    real = SHARED / "kuairec" / "real"
    for name in (USERS, CAPTIONS, columns.ITEM_CATEGORIES_FILE):
        raw.files[name] = (real / name).read_bytes().decode()
    made = _ingested(raw, tmp_path, **{"data.max_reject_share": 0})
    assert _table(made, "users").height == 7_176
    captions = _table(made, "video_captions")
    assert captions.height == captions["video_id"].n_unique() == 10_728
    # Of the 9,377 that pandas counts, five are blank.
    assert captions["caption"].count() == 9_372
    assert _table(made, "video_categories").height == 10_728
    assert not list(made.paths.rejects.iterdir())


def test_a_segment_that_the_users_do_not_have_is_said_before_features_are_built(
    raw: RawLog, tmp_path: Path
) -> None:
    asked = {"lists.shared.popular_k": 5}
    home = _ingested(raw, tmp_path, **asked, **{"lists.shared.segments": ["user_active_degree"]})
    assert ingest(home).skipped
    # The setting alone has changed: nothing is ingested anew, and it is said all the same.
    with pytest.raises(
        InputError, match=r"\[lists.shared\] segments: the users have no column shoe_size; they have "
    ):
        ingest(home.changed({"lists.shared.segments": ("shoe_size",)}))
