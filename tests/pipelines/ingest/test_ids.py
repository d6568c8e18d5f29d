"""Ids of any kind: each has one code for ever, and comes back exactly as it was written."""

import json
import random
import uuid
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from pipelines.ingest import ingest
from pipelines.ingest.deliveries import ARCHIVE, archived_name
from pipelines.ingest.id_codes import Codes
from tests.fixtures.raw_log import BIG_HEADER, RawLog
from tests.pipelines.ingest.conftest import Ingested

BIG, SMALL, DAILY = columns.BIG_MATRIX_FILE, columns.SMALL_MATRIX_FILE, columns.ITEM_DAILY_FILE
CAPTIONS, USERS, FRIENDS = columns.CAPTION_FILE, columns.USER_FEATURES_FILE, columns.SOCIAL_NETWORK_FILE
SIDE_FILES = (SMALL, DAILY, CAPTIONS, USERS, FRIENDS, columns.ITEM_CATEGORIES_FILE)


def _only_plays(raw: RawLog, pairs: list[tuple[str, str]]) -> None:
    """A log of these users and videos alone, a play a minute, as JSON lines would have them in a CSV."""
    rows = [
        f'"{user}","{video}",3000,6067,2020-07-05 05:{n // 60 % 60:02}:{n % 60:02}.000,20200705,,0.494478'
        for n, (user, video) in enumerate(pairs)
    ]
    raw.files = {BIG: "\n".join([BIG_HEADER, *rows]) + "\n"}


def _users(ingested: Ingested, table: str = "interactions", column: str = "user_id") -> list[str]:
    """The ids of a column, in the table's order."""
    ids = Ids.of(ingested.settings().paths, column)
    return [str(one) for one in ids.outward(ingested.table(table)[column].to_numpy())]


def _deliver(ingested: Ingested, name: str, text: str, at: datetime) -> None:
    folder = ingested.settings().data.raw_dir / "incoming" / ARCHIVE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / archived_name(name, at)).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("alice", "Alice"),
        ("18446744073709551615", "9223372036854775808"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", "3F2504E0-4F89-11D3-9A0C-0305E82C3301"),
        ("007", "0007"),
        ("-rf", "--home"),
        ("é", "e\u0301"),
        ("a b", "a  b"),
        ("用户一", "0x10"),
    ],
)
def test_ids_that_are_no_integers_are_recognised_and_come_back_exactly(
    ingested: Ingested, first: str, second: str
) -> None:
    _only_plays(ingested.raw, [(first, second), (second, first), (first, second)])
    ingested.run(**{"data.max_reject_share": 0})
    assert _users(ingested) == [first, second, first]
    assert _users(ingested, column="video_id") == [second, first, second]
    assert ingested.table("interactions")["user_id"].to_list() == [0, 1, 0]


def test_a_home_of_integers_has_no_file_of_ids(ingested: Ingested) -> None:
    ingested.run()
    assert not ingested.settings().paths.ids.exists()
    assert ingested.table("interactions")["user_id"].to_list() == [15, 14, 14, 16]


def test_all_files_speak_of_the_same_ids(ingested: Ingested) -> None:
    """Users and their friends; videos of plays, days, captions and categories; authors too."""
    for name in (*SIDE_FILES, BIG):
        for number in (14, 15, 16):
            ingested.raw.files[name] = ingested.raw.files[name].replace(f"\n{number},", f"\nu{number},")
        for number in (148, 149, 183):
            text = ingested.raw.files[name].replace(f",{number},", f",v{number},")
            ingested.raw.files[name] = text.replace(f"\n{number},", f"\nv{number},")
    ingested.raw.spoil(FRIENDS, "[15, 16]", "[u15, u16, u99]")
    ingested.raw.spoil(DAILY, ",7,NORMAL", ",Ann,NORMAL").spoil(DAILY, ",8,AD", ",Bo,AD")
    ingested.run(**{"data.max_reject_share": 0})
    assert set(_users(ingested)) == {"u14", "u15", "u16"}
    assert _users(ingested, "users") == ["u14", "u15", "u16"]
    assert set(_users(ingested, "fully_observed", "video_id")) == {"v149"}
    assert set(_users(ingested, "video_captions", "video_id")) == {"v148", "v149", "v183"}
    assert set(_users(ingested, "video_categories", "video_id")) == {"v148", "v183"}
    assert set(_users(ingested, "video_daily", "author_id")) == {"Ann", "Bo"}
    friends = ingested.table("social_network")["friend_list"][0].to_numpy()
    assert Ids.of(ingested.settings().paths, "user_id").outward(friends) == ["u15", "u16", "u99"]
    assert pl.read_parquet(ingested.settings().paths.ids / "user.parquet").columns == ["id", "code"]


def test_seven_is_seven_in_a_file_of_integers_and_in_one_of_text(ingested: Ingested) -> None:
    """Where one file has text, all ids are: 7 is "7", and 007 is another."""
    _only_plays(ingested.raw, [("alice", "1"), ("7", "1"), ("007", "1"), ("bob", "2")])
    ingested.raw.files[USERS] = "user_id,user_active_degree\n7,full_active\n8,UNKNOWN\n"
    ingested.run(**{"data.max_reject_share": 0})
    assert _users(ingested) == ["alice", "7", "007", "bob"]
    assert _users(ingested, "users") == ["7", "8"]
    assert not (ingested.settings().paths.ids / "video.parquet").exists()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ('" bob"', 'column user_id: " bob" begins or ends with a space'),
        ('"bob\u00a0"', 'column user_id: "bob " begins or ends with a space'),
        ("b\x07b", 'column user_id: "b\x07b" holds a control character'),
        ("b" * 501, f'column user_id: "{"b" * 40}" is longer than 500 bytes'),
        ("", "column user_id: no value"),
        ("null", "column user_id: no value"),
    ],
)
def test_an_id_that_would_not_come_back_is_rejected_with_its_reason(
    ingested: Ingested, written: str, reason: str
) -> None:
    _only_plays(ingested.raw, [("alice", "1"), ("bob", "2"), ("carol", "1")])
    ingested.raw.spoil(BIG, '"bob"', written)
    ingested.run()
    assert ingested.rejects(BIG) == [(3, reason)]
    known = pl.read_parquet(ingested.settings().paths.ids / "user.parquet")
    assert known["id"].to_list() == ["alice", "carol"]


def test_codes_stay_when_logs_grow_and_deliveries_come(ingested: Ingested) -> None:
    _only_plays(ingested.raw, [("b", "x"), ("a", "y")])
    ingested.run()
    known = ingested.settings().paths.ids / "user.parquet"
    before = pl.read_parquet(known).rows()
    ingested.raw.files[BIG] += '"c","x",3000,6067,2020-07-05 06:00:00.000,20200705,,0.494478\n'
    late = f"{BIG_HEADER}\naa,z,3000,6067,2020-07-04 05:00:00.000,20200704,,0.494478\n"
    ingested.raw.write(ingested.settings().data.raw_dir)
    _deliver(ingested, "big_matrix_late.csv", late, datetime(2020, 7, 6, tzinfo=UTC))
    ingest(ingested.settings())
    assert before == [("b", 0), ("a", 1)]
    assert pl.read_parquet(known).rows() == [*before, ("c", 2), ("aa", 3)]
    assert _users(ingested) == ["aa", "b", "a", "c"]
    grown = ingested.table("interactions")
    ingest(ingested.settings(), force=True)
    assert ingested.table("interactions").equals(grown)


def test_a_failed_ingest_leaves_the_ids(ingested: Ingested) -> None:
    _only_plays(ingested.raw, [("a", "x"), ("b", "y")])
    ingested.run()
    known = ingested.settings().paths.ids / "user.parquet"
    before = known.read_bytes()
    ingested.raw.files[BIG] += '"c","x",no,6067,2020-07-05 06:00:00.000,20200705,,0.494478\n'
    with pytest.raises(InputError):
        ingested.run(**{"data.max_reject_share": 0})
    assert known.read_bytes() == before


def test_text_in_a_home_of_integers_is_refused_with_the_setting_that_takes_it(ingested: Ingested) -> None:
    ingested.run()
    ingested.raw.files[BIG] += "alice,148,3000,6067,2020-07-06 00:00:00.000,20200706,,0.494478\n"
    with pytest.raises(
        InputError, match=r'If such ids are right, set \[data.format\] text_ids = "user"'
    ) as raised:
        ingested.run(**{"data.max_reject_share": 0})
    assert "\n" not in str(raised.value)


def test_a_home_of_integers_becomes_one_of_text_and_its_codes_stay(ingested: Ingested) -> None:
    """So what was learnt of them stays true."""
    ingested.run()
    before = ingested.table("interactions")
    ingested.raw.files[BIG] += "alice,148,3000,6067,2020-07-06 00:00:00.000,20200706,,0.494478\n"
    ingested.run(**{"data.max_reject_share": 0, "data.format.text_ids": "user"})
    assert _users(ingested) == ["15", "14", "14", "16", "alice"]
    assert ingested.table("interactions").head(4).equals(before)
    assert ingested.table("interactions")["user_id"].to_list()[-1] == 17
    # What was found stays, and is not taken back in silence.
    ingest(ingested.settings(**{"data.format.text_ids": "auto"}), force=True)
    assert _users(ingested)[-1] == "alice"
    with pytest.raises(InputError, match="the user ids of this home are text"):
        ingest(ingested.settings(**{"data.format.text_ids": "none"}))


def test_integers_that_fill_their_range_leave_room_for_words(ingested: Ingested) -> None:
    _only_plays(ingested.raw, [(str(2**63 - 1), "1"), (str(-(2**63)), "1"), ("0", "1"), ("5", "1")])
    ingested.run()
    ingested.raw.files[BIG] += '"alice","1",3000,6067,2020-07-05 06:00:00.000,20200705,,0.494478\n'
    ingested.run(**{"data.format.text_ids": "user", "data.max_reject_share": 0})
    assert _users(ingested) == [str(2**63 - 1), str(-(2**63)), "0", "5", "alice"]
    assert ingested.table("interactions")["user_id"].n_unique() == 5


def test_lost_ids_are_made_again_and_damaged_ones_named(ingested: Ingested) -> None:
    _only_plays(ingested.raw, [("b", "x"), ("a", "y")])
    ingested.run()
    known = ingested.settings().paths.ids / "user.parquet"
    known.write_bytes(known.read_bytes()[:-4] + b"PAR2")
    with pytest.raises(InputError, match=r"user.parquet: not as it was written\..*backup"):
        ingest(ingested.settings(), force=True)
    known.unlink()
    ingest(ingested.settings())
    assert _users(ingested) == ["b", "a"]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_text_ids_of_other_formats(ingested: Ingested, kind: str, tmp_path: Path) -> None:
    """A number in JSON is the id that its digits are."""
    ids = ["7", "alice", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"]
    rows = [
        {
            "user_id": user,
            "video_id": n,
            "play_duration": 3000,
            "video_duration": 6067,
            "timestamp": 1.6e9 + n,
        }
        for n, user in enumerate(ids)
    ]
    ingested.raw.files = {USERS: "user_id\n7\n"}
    made = ingested.settings()
    ingested.raw.write(made.data.raw_dir)
    if kind == "jsonl":
        texts = [json.dumps(row).replace('"7"', "7") for row in rows]
        (made.data.raw_dir / "big_matrix.jsonl").write_text("\n".join(texts) + "\n")
    else:
        frame = pl.DataFrame(rows).with_columns(pl.col("video_id").cast(pl.Float64))
        frame.write_parquet(made.data.raw_dir / "big_matrix.parquet")
    ingest(made)
    assert _users(ingested) == ids
    assert _users(ingested, "users") == ["7"]
    assert ingested.table("interactions")["video_id"].to_list() == [0, 1, 2]


def test_an_object_of_json_is_no_id(ingested: Ingested) -> None:
    """Its braces and quotes would be the id."""
    good = {"video_id": 1, "play_duration": 3000, "video_duration": 6067, "timestamp": 1_600_000_000}
    ingested.raw.files = {USERS: "user_id\nalice\n"}
    made = ingested.settings()
    ingested.raw.write(made.data.raw_dir)
    users = ["alice", *({"$oid": f"5f{n}"} for n in range(3))]
    lines = [json.dumps(good | {"user_id": user}) for user in users]
    (made.data.raw_dir / "big_matrix.jsonl").write_text("\n".join(lines) + "\n")
    ingest(made)
    assert _users(ingested) == ["alice"]
    found = pl.read_parquet(made.paths.rejects / "big_matrix.jsonl.parquet")["line", "reason"].rows()
    assert [line for line, _ in found] == [2, 3, 4]
    assert all(reason.endswith("is a JSON object, not an id") for _, reason in found)


# Without surrogates and control characters.
_CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"))
_NO_ID = ("", "NULL", "null", "Null", "NaN", "nan", "None", "<NA>", "\\N")
_TEXT = st.text(_CHARACTERS, min_size=1, max_size=20).map(str.strip).filter(lambda text: text not in _NO_ID)


@settings(max_examples=60, deadline=None)
@given(deliveries=st.lists(st.lists(_TEXT, max_size=12), max_size=5))
def test_any_text_keeps_its_code_whatever_comes_after(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[list[str]]
) -> None:
    file = tmp_path_factory.mktemp("ids") / "user.parquet"
    Codes().write(file)
    known: dict[str, int] = {}
    for texts in deliveries:
        codes = Codes.read(file)
        given_now = codes.codes(pl.Series("id", texts, dtype=pl.String)).to_list()
        codes.write(file)
        for text, code in zip(texts, given_now, strict=True):
            assert known.setdefault(text, code) == code
        assert dict(pl.read_parquet(file).iter_rows()) == known
        assert Ids("user", file, is_text=True).outward(given_now) == texts
    assert list(known.values()) == list(range(len(known)))


@settings(max_examples=3, deadline=None)
@given(
    first=st.lists(st.tuples(_TEXT, _TEXT), min_size=2, max_size=12),
    later=st.lists(_TEXT, min_size=1, max_size=6),
)
def test_any_text_comes_back_from_a_log_and_a_delivery(
    tmp_path_factory: pytest.TempPathFactory, first: list[tuple[str, str]], later: list[str]
) -> None:
    ingested = Ingested(tmp_path_factory.mktemp("home"))
    written = [(user.replace('"', '""'), video.replace('"', '""')) for user, video in first]
    _only_plays(ingested.raw, written)
    ingested.raw.files[USERS] = "user_id,user_active_degree\nA,full_active\n"
    made = ingested.settings(**{"data.format.text_ids": "user,video", "data.max_reject_share": 0})
    ingested.raw.write(made.data.raw_dir)
    frame = pl.DataFrame({"user_id": later, "user_active_degree": ["full_active"] * len(later)})
    _deliver(ingested, USERS, frame.write_csv(), datetime(2020, 7, 7, tzinfo=UTC))
    ingest(made)
    assert list(zip(_users(ingested), _users(ingested, column="video_id"), strict=True)) == first
    assert set(_users(ingested, "users")) == {"A", *later}


def test_uuids_by_the_thousand_have_as_many_codes(ingested: Ingested) -> None:
    draw = random.Random(0)
    users = [str(uuid.UUID(int=draw.getrandbits(128))) for _ in range(3000)]
    _only_plays(ingested.raw, [(user, "v") for user in users])
    ingested.run()
    assert set(_users(ingested)) == set(users)
    assert ingested.table("interactions")["user_id"].n_unique() == 3000
