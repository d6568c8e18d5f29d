"""Files dropped in `raw_dir/incoming` join the tables once, raw files stay as they are, nothing is silent."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nightreel.core.settings import Settings
from nightreel.core.steps import StepResult
from nightreel.operations import doctor
from nightreel.operations.incoming import merge_deliveries
from pipelines.ingest import ingest
from pipelines.ingest.deliveries import archived_name, deliveries
from pipelines.known import known_now, last_arrival
from tests.conftest import Nightreel
from tests.fixtures.fork_server import forks
from tests.fixtures.tables import read_table

PLAYS = (
    "user_id,video_id,play_duration,video_duration,time,timestamp,watch_ratio\n"
    "1,10,1000,2000,,1594000000.5,0.5\n"
    "2,11,3000,2000,,1594000001,1.5\n"
)
HEADER = PLAYS.splitlines()[0] + "\n"
DAILY = "video_id,date,show_cnt,play_cnt,like_cnt\n10,20200705,5,4,1\n11,20200705,9,7,2\n"
USERS = "user_id,user_active_degree\n1,full_active\n2,high_active\n"
CAPTIONS = 'video_id,caption,topic_tag\n10,"a, b","[x, y]"\n11,猫,[]\n'
FILES = {
    "big_matrix": PLAYS,
    "item_daily_features": DAILY,
    "user_features": USERS,
    "kuairec_caption_category": CAPTIONS,
}
FROM_THE_START = datetime(1970, 1, 1, tzinfo=UTC)


def _make(folder: Path, **changes: object) -> Settings:
    raw = folder / "raw"
    (raw / "incoming").mkdir(parents=True)
    for name, text in FILES.items():
        (raw / f"{name}.csv").write_text(text, encoding="utf-8")
    return Settings.model_validate({"home": folder, "data.raw_dir": raw, **changes})


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return _make(tmp_path)


def _drop(home: Settings, name: str, text: str) -> Path:
    path = home.data.raw_dir / "incoming" / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_command_that_reads_raw_files_says_what_waits(home: Settings, nightreel: Nightreel) -> None:
    (home.home / "nightreel.toml").write_text("", encoding="utf-8")
    _drop(home, "big_matrix-new.csv", PLAYS)
    done = nightreel("ingest", home=home.home)
    assert (done.returncode, "nightreel schedule --once" in done.stderr) == (0, True), done.stderr
    merge_deliveries(home)
    assert "files wait" not in nightreel("ingest", home=home.home).stderr


def _night(home: Settings) -> StepResult:
    """Take in what was dropped, and ingest; raw files are as they were, byte for byte."""
    before = {path: path.read_bytes() for path in home.data.raw_dir.glob("*.csv")}
    taken = merge_deliveries(home)
    ingest(home)
    assert {path: path.read_bytes() for path in before} == before
    return taken


def _table(home: Settings, name: str, *names: str) -> list[tuple[object, ...]]:
    return read_table(home, name).select(names).rows()


def _folder(home: Settings, name: str) -> list[str]:
    """The files of a folder of `incoming`; of archived ones the names that they were delivered under."""
    folder = home.data.raw_dir / "incoming" / name
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [file.partition("Z-")[2] if name == "taken" else file for file in found]


def test_nothing_dropped_changes_nothing(home: Settings) -> None:
    assert merge_deliveries(home).skipped
    (home.data.raw_dir / "incoming").rmdir()
    assert merge_deliveries(home).skipped


def test_new_plays_are_added_and_old_ones_are_not(home: Settings) -> None:
    _drop(home, "big_matrix_2.csv", PLAYS + "3,10,500,2000,,1594000002,0.25\n")
    assert _night(home).summary["remarks"] == []
    assert _table(home, "interactions", "user_id", "video_id") == [(1, 10), (2, 11), (3, 10)]
    assert _folder(home, "taken") == ["big_matrix_2.csv"]


def test_a_row_says_when_it_arrived_and_the_first_load_counts_as_known_from_the_start(home: Settings) -> None:
    earliest = datetime.now(UTC)
    _drop(home, "big_matrix_2.csv", HEADER + "3,10,500,2000,,1594000000,0.25\n")
    _drop(home, "user_features_2.csv", USERS.replace("high_active", "low_active"))
    _night(home)
    plays = _table(home, "interactions", "user_id", "created_timestamp")
    assert [user for user, _ in plays] == [3, 1, 2]  # by when they happened
    arrived = plays[0][1]
    assert isinstance(arrived, datetime) and earliest <= arrived <= datetime.now(UTC)
    assert [known for _, known in plays[1:]] == [FROM_THE_START, FROM_THE_START]
    users = dict(_table(home, "users", "user_id", "created_timestamp"))
    assert users[1] == FROM_THE_START
    assert users[2] > arrived
    superseded = pl.read_parquet(home.paths.tables / "superseded" / "users.parquet")
    assert superseded.select("user_id", "user_active_degree", "created_timestamp").rows() == [
        (2, "high_active", FROM_THE_START)
    ]


@pytest.mark.parametrize(
    "delivery",
    [
        PLAYS,
        "user_id,video_id,play_duration,video_duration,timestamp,watch_ratio\n"
        "1.0,10.0,1000,2000,1594000000.500,0.50\n",
        "watch_ratio,user_id,video_id,play_duration,video_duration,time\n"
        "1.5,2,11,3000.0,2000,2020-07-06 09:46:41\n",
    ],
)
def test_a_play_is_known_by_its_values_however_they_are_written(home: Settings, delivery: str) -> None:
    _drop(home, "big_matrix_2.csv", delivery)
    _night(home)
    assert len(_table(home, "interactions", "user_id")) == 2


def test_a_delivery_may_tell_the_time_in_the_other_column(tmp_path: Path) -> None:
    """A log with `time`, a delivery with `timestamp`: plays keep their time, also in later nights."""
    home = _make(tmp_path)
    (home.data.raw_dir / "big_matrix.csv").write_text(
        "user_id,video_id,play_duration,video_duration,time,watch_ratio\n"
        "1,10,1000,2000,2020-07-05 10:00:00,0.5\n"
    )
    delivered = (
        "user_id,video_id,play_duration,video_duration,timestamp,watch_ratio\n3,10,500,2000,1594000002,0.25\n"
    )
    _drop(home, "big_matrix_2.csv", delivered)
    _night(home)
    ingest(home, force=True)
    last = _table(home, "interactions", "user_id", "event_timestamp")[-1]
    assert last == (3, datetime.fromtimestamp(1594000002, UTC))


@pytest.mark.parametrize("day", ["20200705", "2020-07-05", "20200705.0"])
def test_a_takedown_counts_however_its_day_and_its_video_are_written(home: Settings, day: str) -> None:
    header = "date,video_id,show_cnt,play_cnt,like_cnt,visible_status\n"
    _drop(home, "item_daily_features_x.csv", f"{header}{day},10.0,5,4,1,private\n")
    _night(home)
    assert _table(home, "video_daily", "video_id", "date", "visible_status") == [
        (10, date(2020, 7, 5), "private"),  # a column that the raw file has not
        (11, date(2020, 7, 5), None),
    ]


def test_what_a_delivery_has_no_column_for_keeps_its_value(home: Settings) -> None:
    _drop(home, "kuairec_caption_category_x.csv", "video_id,caption\n10,new\n")
    _night(home)
    assert _table(home, "video_captions", "video_id", "caption", "topic_tag")[0] == (10, "new", ["x", "y"])


def test_a_malformed_row_of_the_raw_file_stays_there_and_in_the_rejects(tmp_path: Path) -> None:
    home = _make(tmp_path, **{"data.max_reject_share": 0.5})
    raw = home.data.raw_dir / "big_matrix.csv"
    raw.write_text(PLAYS + "7,3,1200,9000,,1593990000,0.1333,extra\n")
    _drop(home, "big_matrix_2.csv", HEADER + "3,10,500,2000,,1594000002,0.25\nx,10,1,2,,1594000002,0.5\n")
    _night(home)
    for forced in (False, True):
        ingest(home, force=forced)
        rejects = {path.stem: pl.read_parquet(path) for path in home.paths.rejects.glob("*.parquet")}
        assert rejects["big_matrix"]["line"].to_list() == [4]
        (of_delivery,) = (found for name, found in rejects.items() if name != "big_matrix")
        assert of_delivery["line"].to_list() == [3]


def test_a_file_delivered_twice_changes_nothing(home: Settings) -> None:
    more = HEADER + "3,10,500,2000,,1594000002,0.25\n"
    found = []
    for _ in range(2):
        _drop(home, "big_matrix_2.csv", more)
        _night(home)
        found.append(read_table(home, "interactions"))
    assert found[0].equals(found[1])
    assert _folder(home, "taken") == ["big_matrix_2.csv", "big_matrix_2.csv"]


def test_a_record_of_a_known_key_replaces_it_and_the_later_delivery_stays(home: Settings) -> None:
    first = _drop(home, "user_features_b.csv", "user_id,user_active_degree\n2,first\n3,new\n")
    second = _drop(home, "user_features_a.csv", "user_id,user_active_degree\n2.0,second\n")
    os.utime(first, ns=(1, 1))
    os.utime(second, ns=(2, 2))
    _night(home)
    assert _table(home, "users", "user_id", "user_active_degree") == [
        (1, "full_active"),
        (2, "second"),
        (3, "new"),
    ]
    records = DAILY.splitlines()[0] + "\n11,2020-07-05,1,1,1\n11,20200706,2,2,2\n"
    _drop(home, "item_daily_features_6.csv", records)
    _night(home)
    assert _table(home, "video_daily", "video_id", "date", "show_cnt") == [
        (10, date(2020, 7, 5), 5),
        (11, date(2020, 7, 5), 1),
        (11, date(2020, 7, 6), 2),
    ]


def test_captions_with_commas_quotes_and_breaks_come_through(home: Settings) -> None:
    _drop(home, "kuairec_caption_category_new.csv", 'video_id,caption\n12,"say ""hi"",\nthere"\n')
    _night(home)
    assert _table(home, "video_captions", "video_id", "caption")[-1] == (12, 'say "hi",\nthere')


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("notes.csv", "a,b\n1,2\n", "unknown kind"),
        ("big_matrix_1.csv", "user_id,video_id\n1,2\n", "no column"),
        ("big_matrix_2.csv", "", "empty"),
        ("big_matrix_3.csv", PLAYS + "x,10,1,2,,1594000002,0.5\n", "rejected"),
        ("big_matrix_4.csv", PLAYS + '3,"10,1,2', "quote"),
    ],
)
def test_a_bad_file_is_quarantined_with_its_reason_and_the_others_are_archived(
    home: Settings, name: str, text: str, why: str
) -> None:
    _drop(home, name, text)
    _drop(home, "user_features_2.csv", "user_id,user_active_degree\n9,new\n")
    result = _night(home)
    assert [name in remark and "quarantined" in remark for remark in result.summary["remarks"]] == [True]
    assert len(_table(home, "interactions", "user_id")) == 2
    assert _folder(home, "set_aside") == [name, f"{name}.reason.txt"]
    reason = (home.data.raw_dir / "incoming" / "set_aside" / f"{name}.reason.txt").read_text(encoding="utf-8")
    assert why in reason
    assert _folder(home, "taken") == ["user_features_2.csv"]


def _unreadable(folder: Path) -> str:
    path = folder / "big_matrix_secret.csv"
    path.write_text(PLAYS)
    path.chmod(0)
    return path.name


def _dangling(folder: Path) -> str:
    (folder / "big_matrix_link.csv").symlink_to("nowhere.csv")
    return "big_matrix_link.csv"


def _outward(folder: Path) -> str:
    outside = folder.parent.parent / "outside.csv"
    outside.write_text(PLAYS)
    (folder / "big_matrix_link.csv").symlink_to(outside)
    return "big_matrix_link.csv"


def _pipe(folder: Path) -> str:
    os.mkfifo(folder / "big_matrix_pipe.csv")
    return "big_matrix_pipe.csv"


def _long_bad_name(folder: Path) -> str:
    name = "user_features_" + "x" * 237 + ".csv"
    (folder / name).write_text("nonsense\n")
    return name


def _not_utf8_name(folder: Path) -> str:
    name = b"notes_\xff\x1b[31m.csv"
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("a\n")
    return "notes_\\udcff\\x1b[31m.csv"


@pytest.mark.parametrize(
    "put",
    [
        pytest.param(
            _unreadable, marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
        ),
        _dangling,
        _outward,
        _pipe,
        _long_bad_name,
        _not_utf8_name,
    ],
)
def test_a_file_that_cannot_be_read_does_not_end_the_night(home: Settings, put: object) -> None:
    name = put(home.data.raw_dir / "incoming")  # type: ignore[operator]
    _drop(home, "big_matrix_2.csv", HEADER + "3,10,500,2000,,1594000002,0.25\n")
    (remark,) = _night(home).summary["remarks"]
    assert remark.startswith(f"{name} was quarantined: ")
    remark.encode()
    assert len(_table(home, "interactions", "user_id")) == 3
    assert not [
        path for path in (home.data.raw_dir / "incoming").iterdir() if path.is_symlink() or path.is_file()
    ]


_AS_NOBODY = """
import os, sys
from pathlib import Path
from nightreel.operations.incoming import merge_deliveries
from nightreel.core.settings import Settings
home = Path(sys.argv[1])
settings = Settings.model_validate({"home": home, "data.raw_dir": home / "raw"})
os.setegid(65534)
os.seteuid(65534)
print(merge_deliveries(settings).summary["remarks"])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("may_move", [True, False])
def test_a_file_that_this_user_may_not_read_is_quarantined_or_named(may_move: bool) -> None:
    with TemporaryDirectory() as folder:  # pytest's own lets nobody else in
        home = _make(Path(folder))
        incoming = home.data.raw_dir / "incoming"
        _unreadable(incoming)
        home.home.chmod(0o755)
        incoming.chmod(0o777 if may_move else 0o755)
        arguments = [sys.executable, "-c", _AS_NOBODY, folder]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = "was quarantined" if may_move else "is not read and cannot be quarantined"
        assert f"big_matrix_secret.csv {said}" in done.stdout and "Permission denied" in done.stdout
        assert (incoming / "big_matrix_secret.csv").exists() != may_move


def test_a_good_file_whose_name_is_as_long_as_a_name_can_be_is_taken_once(home: Settings) -> None:
    not_utf8 = os.fsdecode(b"big_matrix_\xff\x1b.csv")
    for name in ("big_matrix_" + "x" * 240 + ".csv", "big_matrix_" + "猫" * 79 + ".csv", not_utf8):
        _drop(home, name, HEADER + "3,10,500,2000,,1594000002,0.25\n")
    assert _night(home).summary["remarks"] == []
    assert len(_table(home, "interactions", "user_id")) == 3
    assert all(name.startswith("big_matrix_") for name in _folder(home, "taken"))
    assert len(deliveries(home.data.raw_dir)) == 3
    assert merge_deliveries(home).skipped and ingest(home).skipped


def test_what_is_not_read_is_named_in_the_remarks_and_by_doctor(home: Settings) -> None:
    incoming = home.data.raw_dir / "incoming"
    row = HEADER + "3,10,500,2000,,1594000002,0.25\n"
    _drop(home, "Big_Matrix_0706.CSV", row)  # the one that can be read
    (incoming / "big_matrix_0707.csv.bz2").write_bytes(b"BZh9")
    (incoming / "big_matrix_0708.orc").write_bytes(b"ORC")
    _drop(home, "big_matrix_0709.csv.part", row)
    _drop(home, ".big_matrix_0710.csv", row)
    (incoming / "2020-07-07").mkdir()
    (incoming / "2020-07-07" / "big_matrix.csv").write_text(row)
    (home.data.raw_dir / "big_matrix_2.csv").write_text(row)
    (home.data.raw_dir / "big_matrix.csv.gz").write_bytes(gzip.compress(row.encode()))
    (home.data.raw_dir / "more").mkdir()
    (home.data.raw_dir / "more" / "user_features.csv").write_text(USERS)
    (home.data.raw_dir / "old" / "x").mkdir(parents=True)
    for name in ("big_matrix.csv", "plays.csv"):
        (home.data.raw_dir / "old" / "x" / name).write_text(row)
    for name in ("item_categories.tsv.br", "plays.h5", "README.md", "LICENSE"):
        (home.data.raw_dir / name).write_bytes(b"\x00")
    (home.data.raw_dir / "figures").mkdir()
    (home.data.raw_dir / "figures" / "watch_ratio.png").write_bytes(b"\x00")
    of_incoming = [
        "incoming/.big_matrix_0710.csv",
        "incoming/2020-07-07",
        "incoming/big_matrix_0707.csv.bz2",
        "incoming/big_matrix_0708.orc",
        "incoming/big_matrix_0709.csv.part",
    ]
    beside = [
        "big_matrix.csv.gz",
        "big_matrix_2.csv",
        "item_categories.tsv.br",
        "more/user_features.csv",
        "old/x/big_matrix.csv (and 1 more there)",
        "plays.h5",
    ]
    remarks = merge_deliveries(home).summary["remarks"]
    assert [remark.partition(" is not read: ")[0] for remark in remarks] == of_incoming
    for _ in range(2):  # also when nothing has changed
        remarks = ingest(home).summary["remarks"]
        assert [remark.partition(" is not read: ")[0] for remark in remarks] == [*of_incoming, *beside]
    found = doctor.unread(home.data)
    assert found.state == "warning"
    assert all(name in found.found for name in [*of_incoming, *beside])
    assert len(_table(home, "interactions", "user_id")) == 3


def _text_file(path: Path) -> None:
    path.write_text(HEADER + "7,10,500,2000,,1594000002,0.25\n")


def _dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.csv"))


@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        ("20201399T000000.000000Z-big_matrix.csv", _text_file, "not an instant"),
        ("20201101T000000.000000Z-plays.csv", _text_file, "that of a raw file"),
        ("20201101T000000.000000Z-user_features_9.csv", _dangling_link, "a link to nothing"),
        ("20201101T000000.000000Z-big_matrix_9.csv", Path.mkdir, "not a file"),
        ("big_matrix_dropped.csv", _text_file, "deliver it in incoming/"),
    ],
)
def test_an_odd_entry_of_the_archive_is_named_and_ends_no_night(
    home: Settings, name: str, make: Callable[[Path], None], why: str
) -> None:
    _drop(home, "big_matrix_2.csv", HEADER + "3,10,500,2000,,1594000002,0.25\n")
    _night(home)
    make(home.data.raw_dir / "incoming" / "taken" / name)
    _drop(home, "big_matrix_3.csv", HEADER + "4,10,500,2000,,1594000003,0.25\n")
    for remarks in (merge_deliveries(home).summary["remarks"], ingest(home).summary["remarks"]):
        (remark,) = remarks
        assert remark.startswith(f"incoming/taken/{name} is not read: ") and why in remark
    assert f"taken/{name}" in doctor.unread(home.data).found
    ingest(home, force=True)
    assert [user for (user,) in _table(home, "interactions", "user_id")] == [1, 2, 3, 4]
    assert known_now(home.paths, home.data) >= last_arrival(home.paths)


def test_few_bad_rows_are_left_out_and_said(home: Settings) -> None:
    generous = home.changed({"data.max_reject_share": 0.5})
    _drop(home, "big_matrix_3.csv", PLAYS + "x,10,1,2,,1594000002,0.5\n4,10,1,2,,1594000003,0.5\n")
    result = merge_deliveries(generous)
    assert "1 of 4 rows rejected; line 4" in result.summary["remarks"][0]
    # Accepted once, accepted for ever: a stricter setting is for what comes.
    ingest(home)
    assert [user for (user,) in _table(home, "interactions", "user_id")] == [1, 2, 4]


def test_a_file_not_yet_whole_waits(home: Settings) -> None:
    _drop(home, ".big_matrix_5.csv", PLAYS)
    _drop(home, "big_matrix_5.csv.part", PLAYS)
    assert merge_deliveries(home).skipped


def test_the_raw_files_may_lie_in_a_folder_of_raw_dir(home: Settings) -> None:
    (home.data.raw_dir / "KuaiRec").mkdir()
    for path in home.data.raw_dir.glob("*.csv"):
        path.rename(home.data.raw_dir / "KuaiRec" / path.name)
    _drop(home, "big_matrix.csv", PLAYS + "3,10,500,2000,,1594000002,0.25\n")
    _night(home)
    assert (home.data.raw_dir / "KuaiRec" / "big_matrix.csv").read_text() == PLAYS
    assert len(_table(home, "interactions", "user_id")) == 3


def test_a_first_delivery_becomes_the_raw_file(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "incoming").mkdir(parents=True)
    home = Settings.model_validate({"home": tmp_path, "data.raw_dir": raw})
    _drop(home, "big_matrix.csv", PLAYS)
    assert merge_deliveries(home).summary["rows"] == 2
    assert (raw / "big_matrix.csv").read_text() == PLAYS


def test_arrivals_follow_each_other_whatever_the_clock_does(home: Settings) -> None:
    _drop(home, "big_matrix_1.csv", PLAYS)
    merge_deliveries(home)
    (first,) = deliveries(home.data.raw_dir)
    later = first.path.with_name(f"20310101T000000.000000Z-{_folder(home, 'taken')[0]}")
    first.path.rename(later)
    _drop(home, "big_matrix_0.csv", PLAYS)
    merge_deliveries(home)
    assert [delivery.path.name.partition("Z-")[2] for delivery in deliveries(home.data.raw_dir)] == [
        "big_matrix_1.csv",
        "big_matrix_0.csv",
    ]


_KILLED = """
import os, signal, sys
from pathlib import Path
from nightreel.operations.incoming import merge_deliveries
from nightreel.core.settings import Settings
home, calls = Path(sys.argv[1]), int(sys.argv[2])

def watch(event, arguments):
    global calls
    if event in ("os.rename", "os.mkdir", "open") and "incoming" in str(arguments[0]):
        calls -= 1
        if calls < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
merge_deliveries(Settings.model_validate({"home": home, "data.raw_dir": home / "raw"}))
"""


def test_killed_at_any_instant_a_delivery_is_taken_in_once(tmp_path: Path) -> None:
    """Killed before the nth access to `incoming`, for every n; then a night, and the tables are the same."""
    ended, calls = False, 0
    while not ended:
        home = _make(tmp_path / str(calls))
        _drop(home, "big_matrix_2.csv", HEADER + "3,10,500,2000,,1594000002,0.25\n")
        _drop(home, "user_features_2.csv", "user_id,user_active_degree\n2,new\n")
        ended = forks.run(["-c", _KILLED, str(home.home), str(calls)]).returncode == 0
        _night(home)
        assert [user for (user,) in _table(home, "interactions", "user_id")] == [1, 2, 3]
        assert _table(home, "users", "user_id", "user_active_degree") == [(1, "full_active"), (2, "new")]
        assert sorted(_folder(home, "taken")) == ["big_matrix_2.csv", "user_features_2.csv"]
        calls += 1
    assert calls > 3


_play = st.tuples(
    st.integers(1, 3), st.integers(10, 12), st.integers(0, 2), st.sampled_from([1594000000, 1594000001])
)
_record = st.tuples(st.integers(10, 12), st.sampled_from(["20200705", "2020-07-06"]), st.integers(0, 2))


_Nights = list[tuple[list[tuple[int, ...]], list[tuple[int, str, int]]]]
_any_nights = given(
    nights=st.lists(
        st.tuples(
            st.lists(_play, max_size=4), st.lists(_record, max_size=3, unique_by=lambda r: (r[0], r[1]))
        ),
        min_size=1,
        max_size=4,
    ),
    grows=st.lists(st.booleans(), min_size=4, max_size=4),
)


@hypothesis_settings(max_examples=4, deadline=None)
@_any_nights
def test_tables_are_the_same_night_by_night_or_at_once_and_as_a_plain_loop_has_them(
    tmp_path_factory: pytest.TempPathFactory, nights: _Nights, grows: list[bool]
) -> None:
    _assert_tables_are_the_same(_make(tmp_path_factory.mktemp("home")), nights, grows)


@pytest.mark.slow
@hypothesis_settings(max_examples=60, deadline=None)
@_any_nights
def test_tables_of_sixty_sequences_of_nights_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, nights: _Nights, grows: list[bool]
) -> None:
    _assert_tables_are_the_same(_make(tmp_path_factory.mktemp("home")), nights, grows)


def _assert_tables_are_the_same(home: Settings, nights: _Nights, grows: list[bool]) -> None:
    header = "user_id,video_id,play_duration,video_duration,timestamp,watch_ratio\n"
    log = home.data.raw_dir / "big_matrix.csv"
    log.write_text(header + "9,10,1,2,1593999999,0.5\n")
    ingest(home)
    plays = {(1593999999, 9, 10, 1)}
    records = {(10, date(2020, 7, 5)): 5, (11, date(2020, 7, 5)): 9}
    for (new_plays, new_records), grown in zip(nights, grows, strict=False):
        rows = "".join(f"{u},{v},{d},2,{t},{d / 2}\n" for u, v, d, t in new_plays)
        if new_plays and grown:
            with log.open("a") as file:
                file.write(rows)
        elif new_plays:
            _drop(home, "big_matrix_x.csv", header + rows)
        if new_records:
            said = "".join(f"{video},{day},{shown},0,0\n" for video, day, shown in new_records)
            _drop(home, "item_daily_features_x.csv", DAILY.splitlines()[0] + "\n" + said)
        merge_deliveries(home)
        ingest(home)
        plays |= {(t, u, v, d) for u, v, d, t in new_plays}
        records |= {(v, date.fromisoformat(day)): shown for v, day, shown in new_records}
        by_night = _both(home)
        ingest(home, force=True)
        assert [frame.equals(other) for frame, other in zip(by_night, _both(home), strict=True)] == [True] * 3
        found = by_night[0].select(
            pl.col("event_timestamp").dt.epoch("s"), "user_id", "video_id", "play_duration"
        )
        assert found.rows() == sorted(plays)
        daily = by_night[1].select("video_id", "date", "show_cnt").rows()
        assert daily == [(*key, shown) for key, shown in sorted(records.items())]


def _both(home: Settings) -> list[pl.DataFrame]:
    superseded = home.paths.tables / "superseded" / "video_daily.parquet"
    daily = read_table(home, "video_daily")
    return [
        read_table(home, "interactions"),
        daily,
        pl.read_parquet(superseded) if superseded.is_file() else daily.clear(),
    ]


LATER = datetime(2131, 6, 1, 12, tzinfo=UTC)


def _archived_by_a_wrong_clock(home: Settings) -> None:
    """What a night leaves whose machine said LATER: a user's record, in the archive and in the table."""
    _drop(home, "user_features_1.csv", "user_id,user_active_degree\n1,middle_active\n")
    merge_deliveries(home)
    (archived,) = deliveries(home.data.raw_dir)
    archived.path.rename(archived.path.with_name(archived_name("user_features_1.csv", LATER)))
    ingest(home)


def test_a_delivery_of_later_is_reported_and_does_not_stand_before_what_comes(
    home: Settings, nightreel: Nightreel
) -> None:
    _archived_by_a_wrong_clock(home)
    printed = nightreel("status", home=home.home).stdout
    assert (
        "after now: delivery 21310601T120000.000000Z-user_features_1.csv arrived 2131-06-01 12:00" in printed
    )
    assert "2131-06-01" in doctor.freshness(home, datetime.now(UTC)).found
    earliest = datetime.now(UTC)
    _drop(home, "user_features_2.csv", "user_id,user_active_degree\n1,low_active\n")
    (remark,) = _night(home).summary["remarks"]
    assert "was stamped 2131-06-01 12:00 UTC, after now: it counts as arrived" in remark
    # In the order in which they came, each at an instant that has passed.
    assert _folder(home, "taken") == ["user_features_1.csv", "user_features_2.csv"]
    first, second = (one.arrived for one in deliveries(home.data.raw_dir))
    assert earliest <= first < second <= datetime.now(UTC)
    found = _table(home, "users", "user_id", "user_active_degree", "created_timestamp")
    assert found[0] == (1, "low_active", second)
    assert last_arrival(home.paths) == second and known_now(home.paths, home.data) <= datetime.now(UTC)
    assert "after now" not in nightreel("status", home=home.home).stdout
    assert _night(home).summary["remarks"] == []


def test_a_clock_that_is_behind_stamps_no_delivery_anew(home: Settings) -> None:
    """Raw files of after now say that the present clock is wrong, not the one that stamped the delivery."""
    _archived_by_a_wrong_clock(home)
    for path in home.data.raw_dir.glob("*.csv"):
        os.utime(path, (LATER.timestamp(), LATER.timestamp()))
    (remark,) = merge_deliveries(home).summary["remarks"]
    assert "arrived 2131-06-01 12:00 UTC, after now" in remark
    assert [one.arrived for one in deliveries(home.data.raw_dir)] == [LATER]
