"""A log of any layout: the table [data] says which file and which column is what."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from nightreel.core.errors import InputError
from nightreel.core.ids import Ids
from nightreel.core.settings import Settings, load_settings
from nightreel.operations.incoming import merge_deliveries
from pipelines.ingest import ingest
from tests.fixtures.tables import read_table

RATINGS = "196\t242\t3\t881250949\n186\t302\t5\t891717742\n22\t377\t1\t878887116\n"
RATINGS_AT = [datetime.fromtimestamp(at, UTC) for at in (878887116, 881250949, 891717742)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, which is the current one."""
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    return tmp_path


def _settings(home: Path, toml: str) -> Settings:
    (home / "nightreel.toml").write_text(toml, encoding="utf-8")
    return load_settings()


def _plays(settings: Settings) -> pl.DataFrame:
    return read_table(settings, "interactions")


COLUMNS = '[data.columns]\nuser = "u"\nitem = "i"\ntime = "t"\n'
MOVIELENS = (
    '[data]\nplays = {path = "u.data", header = ["u", "i", "stars", "t"]}\n' + COLUMNS + 'rating = "stars"\n'
)


def test_a_file_without_a_header_is_read_by_the_names_given(home: Path) -> None:
    (home / "u.data").write_text(RATINGS)
    settings = _settings(home, MOVIELENS)
    said = ingest(settings).summary
    plays = _plays(settings)
    assert plays["user_id", "video_id", "watch_ratio"].rows() == [(22, 377, 1), (196, 242, 3), (186, 302, 5)]
    assert plays["event_timestamp"].to_list() == RATINGS_AT
    assert plays["play_duration"].null_count() == plays["video_duration"].null_count() == 3
    assert settings.data.targets.like_threshold == 3.5
    assert not settings.data.has_lengths
    assert "columns_not_there_and_left_empty" not in said
    assert ingest(settings).skipped


def test_a_log_of_plays_alone_has_a_play_in_each_row(home: Path) -> None:
    (home / "log.csv").write_text(
        "t,i,u,watch_ratio\n2024-03-01T10:00:00Z,7,1,9\n2024-03-02T10:00:00Z,8,1,9\n"
    )
    settings = _settings(home, f'[data]\nplays = "log.csv"\n{COLUMNS}')
    said = ingest(settings).summary["recognised"][0]
    assert _plays(settings)["watch_ratio"].to_list() == [1, 1]
    assert _plays(settings)["watch_ratio"][0] > settings.data.targets.like_threshold
    assert said["times"] == "t: ISO 8601"
    assert "1 for each play" in said["watch_ratio"]


def test_events_have_the_weights_of_the_settings(home: Path) -> None:
    rows = [{"u": 1, "i": n, "t": 1_700_000_000 + n, "what": what} for n, what in enumerate(("like", "skip"))]
    (home / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    toml = (
        f'[data]\nplays = "log.jsonl"\n{COLUMNS}event = "what"\n[data.event_weights]\nlike = 1.0\nskip = 0\n'
    )
    settings = _settings(home, toml)
    ingest(settings)
    assert _plays(settings)["watch_ratio"].to_list() == [1, 0]
    with (home / "log.jsonl").open("a") as log:
        log.write(json.dumps({"u": 1, "i": 9, "t": 1_700_000_009, "what": "share"}) + "\n")
    with pytest.raises(InputError, match='line 3, column what: "share" is none of like, skip'):
        ingest(settings)


@pytest.mark.parametrize(("unit", "factor"), [("seconds", 1000), ("milliseconds", 1)])
def test_play_time_and_length_are_of_the_unit_given(home: Path, unit: str, factor: int) -> None:
    (home / "log.csv").write_text("u,i,t,heard,long\n1,7,1700000000,30,60\n1,8,1700000001,90,60\n")
    names = 'play_time = "heard"\nlength = "long"\n'
    settings = _settings(home, f'[data]\nplays = "log.csv"\nlength_unit = "{unit}"\n{COLUMNS}{names}')
    ingest(settings)
    plays = _plays(settings)
    assert plays["play_duration", "video_duration"].rows() == [
        (30 * factor, 60 * factor),
        (90 * factor, 60 * factor),
    ]
    assert plays["watch_ratio"].to_list() == [0.5, 1.5]
    with pytest.raises(InputError, match="length_unit"):
        _settings(home, f'[data]\nplays = "log.csv"\n{COLUMNS}{names}')


@pytest.mark.parametrize(
    "plays", ['"logs/*.csv"', '["logs/b.csv", "logs/a.csv"]', '["logs/a*.csv", "logs/b.csv"]']
)
def test_a_pattern_or_list_of_files_is_one_log(home: Path, plays: str) -> None:
    (home / "logs").mkdir()
    (home / "logs" / "a.csv").write_text("u,i,t\n1,7,1700000000\n")
    (home / "logs" / "b.csv").write_text("u,i,t\n2,7,1700000001\n3,7,1700000002")
    settings = _settings(home, f"[data]\nmax_reject_share = 0\nplays = {plays}\n{COLUMNS}")
    ingest(settings)
    assert _plays(settings)["user_id"].to_list() == [1, 2, 3]
    assert ingest(settings).skipped
    (home / "logs" / "b.csv").write_text("u,i,t\n2,7,1700000001\nx,7,1700000002\n")
    with pytest.raises(InputError, match=r'b\.csv, line 3, column u: "x" is not a whole number'):
        ingest(settings)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rejects_of_several_files_name_their_own_file_and_line(home: Path, kind: str) -> None:
    (home / "logs").mkdir()
    for name, users in (("a", [1, 2, None]), ("b", [4, 5]), ("c", [6, None, 7])):
        frame = pl.DataFrame({"u": users, "i": 7, "t": [1_700_000_000 + n for n in range(len(users))]})
        file = home / "logs" / f"{name}.{kind}"
        {"csv": frame.write_csv, "jsonl": frame.write_ndjson, "parquet": frame.write_parquet}[kind](file)
    settings = _settings(home, f'max_reject_share = 0.5\n[data]\nplays = "logs/*.{kind}"\n{COLUMNS}')
    said = ingest(settings).summary["rejected"]
    (rejects,) = settings.paths.rejects.glob("*.parquet")
    header = int(kind == "csv")
    found = pl.read_parquet(rejects)
    assert found["file", "line"].rows() == [
        (str(home / "logs" / f"a.{kind}"), 3 + header),
        (str(home / "logs" / f"c.{kind}"), 2 + header),
    ]
    assert [(one["file"], one["first_line"], one["rows"]) for one in said] == [(f"a.{kind}", 3 + header, 2)]


def test_a_new_file_of_a_pattern_is_read_the_next_night(home: Path) -> None:
    for day in (1, 2):
        folder = home / "logs" / f"day={day}"
        folder.mkdir(parents=True)
        frame = pl.DataFrame({"u": [day], "i": [7], "t": [datetime(2024, 3, day, tzinfo=UTC)]})
        frame.write_parquet(folder / "part.parquet")
        settings = _settings(home, f'[data]\nplays = "logs/*/*.parquet"\n{COLUMNS}')
        ingest(settings)
        assert _plays(settings)["user_id"].to_list() == list(range(1, day + 1))


def test_files_of_other_columns_are_not_read_as_one(home: Path) -> None:
    (home / "a.csv").write_text("u,i,t\n1,7,1700000000\n")
    (home / "b.csv").write_text("i,u,t\n7,2,1700000001\n")
    settings = _settings(home, f'[data]\nplays = "*.csv"\n{COLUMNS}')
    with pytest.raises(InputError, match=r"a\.csv and b\.csv: not the same columns"):
        ingest(settings)


@pytest.mark.parametrize(
    ("text", "toml"),
    [
        ("'u';'i';'t'\n'1';'7';'1700000000'\n", ""),
        ("u,i,t\n'1','7','1700000000'\n", ""),
        ("u,i,t,title\n'1','7','1700000000','a, \"b\"'\n", 'quote = "\'"\n'),
        ('u\ti\tt\ttitle\n1\t7\t1700000000\t12" mix\n', 'quote = ""\n'),
    ],
)
def test_quotes_of_another_kind(home: Path, text: str, toml: str) -> None:
    (home / "log.csv").write_text(text)
    settings = _settings(home, f'{toml}[data]\nplays = "log.csv"\n{COLUMNS}')
    ingest(settings)
    assert _plays(settings)["user_id", "video_id"].rows() == [(1, 7)]


def test_profiles_of_any_columns_stand_in_the_tables(home: Path) -> None:
    (home / "u.data").write_text(RATINGS)
    (home / "u.user").write_text("196|49|M|writer\n186|39|F|executive\n22|25|M|writer\n")
    (home / "u.item").write_text(
        "242|Kolya (1996)|Comedy\n302|L'Amour \xe9ternel|Drama\n", encoding="latin-1"
    )
    profiles = (
        '[data.users]\npath = "u.user"\ndelimiter = "|"\nheader = ["u", "age", "Gender", "work"]\n'
        '[data.user_columns]\nage = "numeric"\nGender = "categorical"\n'
        '[data.items]\npath = "u.item"\ndelimiter = "|"\nencoding = "latin-1"\n'
        'header = ["id", "title", "genre"]\n'
        'id = "id"\n[data.item_columns]\ntitle = "text"\ngenre = "categorical"\n'
    )
    settings = _settings(home, MOVIELENS + profiles)
    ingest(settings)
    users = pl.read_parquet(settings.paths.table("users"))
    assert users["user_id", "user_age", "user_gender"].rows() == [
        (22, 25, "M"),
        (186, 39, "F"),
        (196, 49, "M"),
    ]
    items = pl.read_parquet(settings.paths.table("video_captions"))
    expected = [(242, "Kolya (1996)", "Comedy"), (302, "L'Amour éternel", "Drama")]
    assert items["video_id", "caption", "item_genre"].rows() == expected


ROLES = (
    '[data.items]\npath = "items.csv"\nid = "id"\n[data.item_columns]\ngenre = "category"\nsub = "category"\n'
    'by = "author"\nout = "upload_date"\nruntime = "length"\nkeys = "tags"\nsong = "music"\nabout = "text"\n'
)
ITEMS = """id,genre,sub,by,out,runtime,keys,song,about
242,Comedy,7,Ann,1997-11-30,1.5,"a, b",hum,Kolya
302,Drama,,Bob,20051231,,c|d,,
9,Comedy,8,,2031-01-01T00:00:00Z,2,,,
"""


def test_columns_of_items_have_roles(home: Path) -> None:
    (home / "u.data").write_text(RATINGS)
    (home / "items.csv").write_text(ITEMS.replace("2031-01-01", "1998-04-05"))
    toml = MOVIELENS.replace("[data]\n", '[data]\nlength_unit = "minutes"\n', 1) + ROLES
    settings = _settings(home, toml)
    ingest(settings)
    items = pl.read_parquet(settings.paths.table("video_captions")).to_dict(as_series=False)
    assert items["video_id"] == [9, 242, 302]
    assert items["first_level_category_name"] == ["Comedy", "Comedy", "Drama"]
    first, second = items["first_level_category_id"], items["second_level_category_id"]
    assert first[0] == first[1] != first[2]
    assert second[2] is None and len(set(second)) == 3
    assert items["upload_dt"] == [date(1998, 4, 5), date(1997, 11, 30), date(2005, 12, 31)]
    assert items["video_duration"] == [120_000, 90_000, None]
    assert items["topic_tag"] == [None, ["a", "b"], ["c", "d"]]
    assert items["video_tag_id"][0] is None and items["video_tag_id"][1] != items["video_tag_id"][2]
    assert items["item_song"] == [None, "hum", None]
    authors = Ids.of(settings.paths, "author_id")
    assert authors.outward([one for one in items["author_id"] if one is not None]) == ["Ann", "Bob"]
    # Codes stay, whatever comes before them.
    (home / "items.csv").write_text(ITEMS.replace("2031-01-01", "1998-04-05").replace("9,Comedy", "9,War"))
    ingest(settings)
    again = pl.read_parquet(settings.paths.table("video_captions")).to_dict(as_series=False)
    assert again["first_level_category_id"][1:] == first[1:]
    assert again["first_level_category_id"][0] not in first
    (home / "items.csv").write_text(ITEMS)
    with pytest.raises(InputError, match='line 4, column out: "2031'):
        ingest(settings)


def test_deliveries_are_read_as_the_log_is(home: Path) -> None:
    (home / "u.data").write_text(RATINGS)
    settings = _settings(home, MOVIELENS)
    ingest(settings)
    incoming = settings.data.raw_dir / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "plays-2.tsv").write_text("1\t242\t4\t891717999\n")
    assert merge_deliveries(settings).summary["rows"] == 1
    ingest(settings)
    assert _plays(settings)["user_id"].to_list() == [22, 196, 186, 1]
    assert (home / "u.data").read_text() == RATINGS


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[data.columns]\nuser = 'u'\nrating = 'r'\nweight = 'w'\n", "rating and weight: name one"),
        ("[data.columns]\nevent = 'e'\n", "event and event_weights belong together"),
        ("[data.columns]\nplay_time = 'a_ms'\n", "name length too"),
        (
            "[data]\nplays = 'x'\ntop_k = 3\n",
            r"\[data\] top_k.*no such setting; did you mean `\[lists\] top_k`",
        ),
        ("[data]\ntargets.label = 'duration'\nplays = 'x'\n", 'label = "duration" is of plays whose'),
        ("[data]\ntargets.long_view_s = 18\nplays = 'x'\n", "long_view_s is of plays whose"),
        ("[data.item_columns]\na = 'author'\nb = 'author'\n", "author is one column's"),
        ("[data.item_columns]\nruntime = 'length'\n", "length_unit"),
    ],
)
def test_what_does_not_go_together_is_refused(home: Path, toml: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _settings(home, toml)


def test_a_column_that_is_not_there_is_named(home: Path) -> None:
    (home / "log.csv").write_text("user,i,t\n1,7,1700000000\n")
    settings = _settings(home, f'[data]\nplays = "log.csv"\n{COLUMNS}')
    with pytest.raises(
        InputError, match=r"no column u, which the table \[data\] names; there are user, i, t"
    ):
        ingest(settings)


def test_ratings_beyond_five_stars_are_asked_for(home: Path) -> None:
    (home / "log.csv").write_text("u,i,t,r\n1,7,1700000000,9\n1,8,1700000000,2\n")
    toml = f'[data]\nplays = "log.csv"\n{COLUMNS}rating = "r"\n'
    with pytest.raises(InputError, match="Above which is a play liked"):
        ingest(_settings(home, toml))
    ingest(_settings(home, f"{toml}[data.targets]\nlike_threshold = 7\nwatch_ratio_clip = 10\n"))


@pytest.mark.parametrize(
    ("numbers", "decimal", "read"),
    [
        (("5,0", "0,25", "3"), "", [5, 0.25, 3]),
        (("5,0", "NULL", "3,5"), "", None),
        (("1,234", "2,500", "0,500"), "", [1.234, 2.5, 0.5]),
        (("1,234", "2,500", "3,125"), "", None),
        (("1,234", "2,500", "3,125"), 'format.decimal = ","\n', [1.234, 2.5, 3.125]),
        (("5,0", "0.25", "3"), "", None),
        (("5,0", "0,25", "3"), 'format.decimal = "."\n', None),
    ],
)
def test_decimal_commas_are_read_where_they_can_be_nothing_else(
    home: Path, numbers: tuple[str, ...], decimal: str, read: list[float] | None
) -> None:
    rows = "".join(f"1;{n};{1_700_000_000 + n};{text}\n" for n, text in enumerate(numbers))
    (home / "log.csv").write_text(f"u;i;t;stars\n{rows}")
    settings = _settings(home, f'[data]\n{decimal}plays = "log.csv"\n{COLUMNS}rating = "stars"\n')
    if read is None:
        with pytest.raises(InputError, match="column stars"):
            ingest(settings)
        return
    said = ingest(settings).summary["recognised"][0]
    assert _plays(settings)["watch_ratio"].to_list() == pytest.approx(read)
    assert said["numbers"] == "stars: decimal commas"


def test_a_decimal_comma_in_a_quoted_field_is_asked_about(home: Path) -> None:
    (home / "log.csv").write_text('u,i,t,stars\n1,2,1700000000,"4,5"\n')
    toml = f'plays = "log.csv"\n{COLUMNS}rating = "stars"\n'
    with pytest.raises(
        InputError, match=r'"4,5" is not a number. For a decimal comma set \[data.format\] decimal = ","'
    ):
        ingest(_settings(home, f"[data]\n{toml}"))
    settings = _settings(home, f'[data]\nformat.decimal = ","\n{toml}')
    ingest(settings)
    assert _plays(settings)["watch_ratio"].to_list() == [4.5]


def test_a_day_without_a_midnight_is_a_time_all_the_same(home: Path) -> None:
    (home / "log.csv").write_text("u,i,t\n1,2,2018-11-03\n1,3,2018-11-04\n")
    settings = _settings(home, f'[data]\ntime_zone = "America/Sao_Paulo"\nplays = "log.csv"\n{COLUMNS}')
    said = ingest(settings).summary["recognised"][0]
    assert _plays(settings)["event_timestamp"].dt.hour().to_list() == [3, 3]
    assert said["times"].startswith("t: days")
