"""A raw file means the same in every format, and a bad row is named at its line or row."""

import gzip
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.operations.incoming import merge_deliveries
from pipelines.ingest import ingest
from pipelines.ingest.raw_files import RAW_FILES
from tests.pipelines.ingest.conftest import Ingested

BIG, CAPTIONS = columns.BIG_MATRIX_FILE, columns.CAPTION_FILE
TABLES = [file.table for file in RAW_FILES]


def _zstd(content: bytes) -> bytes:
    made = pa.BufferOutputStream()
    with pa.CompressedOutputStream(made, "zstd") as stream:
        stream.write(content)
    packed: bytes = made.getvalue().to_pybytes()
    return packed


def _frame(text: str) -> pl.DataFrame:
    return pl.read_csv(io.StringIO(text), infer_schema=False)


def _json_lines(text: str) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in _frame(text).to_dicts()).encode()


def _parquet(text: str) -> bytes:
    made = io.BytesIO()
    _frame(text).write_parquet(made)
    return made.getvalue()


FORMATS: dict[str, Callable[[str], bytes]] = {
    ".csv.gz": lambda text: gzip.compress(text.encode()),
    ".csv.zst": lambda text: _zstd(text.encode()),
    ".tsv": lambda text: _frame(text).write_csv(separator="\t").encode(),
    ".csv": lambda text: _frame(text).write_csv(separator=";").encode("utf-16"),
    ".jsonl": _json_lines,
    ".ndjson.gz": lambda text: gzip.compress(_json_lines(text)),
    ".parquet": _parquet,
    ".txt": _parquet,  # the content says what it is
}


def _write(raw: Path, files: dict[str, str], ending: str) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        # A lone carriage return is a fault of CSV alone.
        (raw / f"{Path(name).stem}{ending}").write_bytes(FORMATS[ending](text.replace("\r", " ")))


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_becomes_the_same_tables(ingested: Ingested, tmp_path: Path, ending: str) -> None:
    shown = "user_id,video_id,timestamp,position\n14,148,1593898060,1\n15,148,1593898061,2\n"
    ingested.raw.files["exposures.csv"] = shown
    ingested.run(**{"data.max_reject_share": 0})
    expected = [ingested.table(name) for name in TABLES]
    other = Ingested(tmp_path / "other")
    settings = other.settings(**{"data.max_reject_share": 0})
    _write(settings.data.raw_dir, ingested.raw.files, ending)
    said = ingest(settings).summary
    assert all(other.table(name).equals(table) for name, table in zip(TABLES, expected, strict=True))
    assert len(said["recognised"]) == len(RAW_FILES)
    assert ingest(settings).skipped
    assert not list(settings.paths.state.glob("unpacked-*"))


@pytest.mark.parametrize("ending", FORMATS)
def test_a_bad_row_is_named_where_it_stands(ingested: Ingested, ending: str) -> None:
    """The third record: on line 4 below a header, on line 3 of JSON lines, row 3 of Parquet."""
    ingested.raw.spoil(BIG, "3000,6067,2020-07-05", "abc,6067,2020-07-05")
    settings = ingested.settings(**{"data.max_reject_share": 0})
    _write(settings.data.raw_dir, ingested.raw.files, ending)
    text = ending in (".csv.gz", ".csv.zst", ".tsv", ".csv")
    where = "line 4" if text else "row 3" if ending in (".parquet", ".txt") else "line 3"
    with pytest.raises(InputError, match=f'{where}, column play_duration: "abc" is not a whole number'):
        ingest(settings)


def test_a_caption_of_two_lines_moves_no_line_of_json(ingested: Ingested) -> None:
    ingested.raw.spoil(CAPTIONS, "149,封面", "x,封面")
    settings = ingested.settings()
    settings.data.raw_dir.mkdir(parents=True)
    ingested.raw.write(settings.data.raw_dir)
    (settings.data.raw_dir / CAPTIONS).unlink()
    path = settings.data.raw_dir / "kuairec_caption_category.jsonl"
    path.write_bytes(_json_lines(ingested.raw.files[CAPTIONS].replace("\r", " ")) + b"{broken\n")
    ingest(settings)
    rejects = pl.read_parquet(settings.paths.rejects / f"{path.name}.parquet")
    assert rejects["line", "reason"].rows() == [
        (3, 'column video_id: "x" is not a whole number'),
        (4, "is not a JSON object"),
    ]
    assert rejects["raw"][1] == "{broken"


def test_a_partitioned_folder_of_parquet_is_one_log(ingested: Ingested) -> None:
    """Partition columns count, a file that is added is seen, a stray one is refused by name."""
    settings = ingested.run()
    expected = ingested.table("interactions")
    (settings.data.raw_dir / BIG).unlink()
    plays = _frame(ingested.raw.files[BIG])
    folder = settings.data.raw_dir / "big_matrix"
    for (user,), part in plays.group_by("user_id"):
        (folder / f"user_id={user}").mkdir(parents=True)
        part.drop("user_id").write_parquet(folder / f"user_id={user}" / "part-0.parquet")
    (folder / "_SUCCESS").touch()
    assert not any("big_matrix" in line for line in ingest(settings).summary.get("remarks", []))
    assert ingested.table("interactions").equals(expected)
    plays.head(1).with_columns(video_id=pl.lit("999")).drop("user_id").write_parquet(
        folder / "user_id=14" / "part-1.parquet"
    )
    ingest(settings)
    assert ingested.table("interactions").height == expected.height + 1
    (folder / "notes.txt").write_text("no data")
    with pytest.raises(InputError, match=r"notes\.txt: not a Parquet file"):
        ingest(settings)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".jsonl", ".parquet"])
def test_a_file_that_was_cut_off_is_refused(ingested: Ingested, ending: str) -> None:
    settings = ingested.settings()
    _write(settings.data.raw_dir, ingested.raw.files, ending)
    path = settings.data.raw_dir / f"big_matrix{ending}"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"cut off|cannot be read|middle of a row"):
        ingest(settings)


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst", ".jsonl", ".parquet", ".tsv"])
def test_deliveries_come_in_every_format(ingested: Ingested, ending: str) -> None:
    """The first is the raw file where there is none, the others are merged."""
    settings = ingested.settings()
    ingested.raw.write(settings.data.raw_dir)
    (settings.data.raw_dir / BIG).unlink()
    incoming = settings.data.raw_dir / "incoming"
    incoming.mkdir()
    (incoming / f"big_matrix_1{ending}").write_bytes(FORMATS[ending](ingested.raw.files[BIG]))
    assert merge_deliveries(settings).summary["remarks"] == []
    assert (settings.data.raw_dir / f"big_matrix{ending}").is_file()
    ingest(settings)
    later = ingested.raw.files[BIG].replace("148", "777")
    (incoming / f"big_matrix_2{ending}").write_bytes(FORMATS[ending](later))
    assert merge_deliveries(settings).summary["remarks"] == []
    ingest(settings)
    assert ingested.table("interactions").height == 7
    assert ingest(settings).skipped


INSTANT = datetime(2020, 7, 4, 16, 8, 23, 438_000, UTC)


@pytest.mark.parametrize(
    "times",
    [
        ("1593878903438", "1593878904438"),
        ("1593878903438000", "1593878904438000"),
        ("2020-07-04T16:08:23.438Z", "2020-07-04T16:08:24Z"),
        ("2020-07-04T11:08:23.438-05:00", "2020-07-04T11:08:24-0500"),
        ("2020-07-05 00:08:23.438", "2020-07-05T00:08:24"),
        ("5/7/2020 0:08:23.438", "31/12/2020 00:08:24"),
        ("07/05/2020 00:08:23.438", "12/31/2020 00:08:24"),
        ("7/5/2020 12:08:23.438 AM", "12/31/2020 1:08 pm"),
        ("2020/7/5 00:08:23.438", "2020/07/31 00:08"),
        ("2020-07-04 16:08:23.438 UTC", "2020-07-31 00:08:23 UTC"),
        ("20200704T160823.438Z", "20200731T0008+0800"),
        ("20200705000823.438", "20200731000823"),
    ],
)
@pytest.mark.parametrize("column", ["timestamp", "time"])
def test_times_are_recognised_and_shown(ingested: Ingested, times: tuple[str, str], column: str) -> None:
    rows = [f"{14 + at},148,4381,6067,{time},0.722103" for at, time in enumerate(times)]
    header = f"user_id,video_id,play_duration,video_duration,{column},watch_ratio"
    ingested.raw.files[BIG] = "\n".join([header, *rows, ""])
    settings = ingested.settings(**{"data.max_reject_share": 0})
    ingested.raw.write(settings.data.raw_dir)
    said = ingest(settings).summary
    assert ingested.table("interactions")["event_timestamp"][0] == INSTANT
    if column == "timestamp":
        assert said["recognised"][0]["times"].startswith("timestamp: ")


def test_a_zoned_time_after_now_is_one_bad_row(ingested: Ingested) -> None:
    times = ("2020-07-05T00:08:23+08:00", "2124-07-05T00:08:23Z", "2020-07-05 01:08:23")
    rows = [f"{14 + at},148,4381,6067,{time},0.722103" for at, time in enumerate(times)]
    ingested.raw.files[BIG] = "\n".join(
        ["user_id,video_id,play_duration,video_duration,time,watch_ratio", *rows, ""]
    )
    ingested.run(**{"data.max_reject_share": 0.5})
    assert ingested.table("interactions")["event_timestamp"].dt.hour().to_list() == [16, 17]
    (reject,) = ingested.rejects(BIG)
    assert "is not between 1970-01-02 and a day past now" in str(reject)


@pytest.mark.parametrize(
    ("times", "chosen", "bad"),
    [
        (("1593878903438", "1593878903438000"), "milliseconds", 1),
        (("1593878903438", "2020-07-05T00:08:23Z"), "milliseconds", 1),
        (("05/07/2020 00:08:23.438", "06/07/2020 00:08:24"), "day_first", 0),
        (("07/05/2020 00:08:23.438", "06/07/2020 00:08:24"), "month_first", 0),
    ],
)
def test_times_that_may_be_two_things_are_asked_for(
    ingested: Ingested, times: tuple[str, str], chosen: str, bad: int
) -> None:
    rows = [f"{14 + at},148,4381,6067,{time},0.722103" for at, time in enumerate(times)]
    header = "user_id,video_id,play_duration,video_duration,timestamp,watch_ratio"
    ingested.raw.files[BIG] = "\n".join([header, *rows, ""])
    with pytest.raises(InputError, match=r"column timestamp: (is|are) .*\?.*Set \[data.format\] time = "):
        ingested.run()
    ingested.run(**{"data.format.time": chosen})
    assert INSTANT in ingested.table("interactions")["event_timestamp"].to_list()
    assert len(ingested.rejects(BIG)) == bad


def test_delimiter_and_encoding_are_asked_for_or_set(ingested: Ingested) -> None:
    settings = ingested.settings()
    ingested.raw.write(settings.data.raw_dir)
    (settings.data.raw_dir / CAPTIONS).write_bytes("video_id,caption\n148,好\n".encode("gbk"))
    with pytest.raises(InputError, match=r"Which encoding is it in.*Set encoding"):
        ingest(settings)
    ingested.raw.files = {
        name: text.replace(",", "::") if name == BIG else text for name, text in ingested.raw.files.items()
    }
    ingested.raw.write(settings.data.raw_dir)
    with pytest.raises(InputError, match="no column user_id"):
        ingest(settings)
    for name, text in ingested.raw.files.items():
        plain = text if name == BIG else text.replace(",", "::").replace("[15:: 16]", "[15]")
        (settings.data.raw_dir / name).write_bytes(plain.replace("\r", " ").encode("gbk"))
    (settings.data.raw_dir / CAPTIONS).write_bytes("video_id::caption\n148::好\n".encode("gbk"))
    ingest(ingested.settings(**{"data.format.delimiter": "::", "data.format.encoding": "gbk"}))
    assert ingested.table("video_captions")["caption"].to_list() == ["好"]


def test_two_files_of_one_kind_are_asked_about(ingested: Ingested) -> None:
    settings = ingested.run()
    (settings.data.raw_dir / BIG).rename(settings.data.raw_dir / "big_matrix.txt")
    (settings.data.raw_dir / "big_matrix.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"big_matrix\.parquet and big_matrix\.txt: which"):
        ingest(settings)
