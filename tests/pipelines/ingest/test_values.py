"""What is stored is what was written: ids to the last digit, times, words for nothing."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import product

import polars as pl
import pytest

from nightreel.core import columns
from tests.fixtures.raw_log import BIG_HEADER, BIG_ROWS
from tests.pipelines.ingest.conftest import Ingested

BIG, SMALL, DAILY = columns.BIG_MATRIX_FILE, columns.SMALL_MATRIX_FILE, columns.ITEM_DAILY_FILE
CAPTIONS, USERS = columns.CAPTION_FILE, columns.USER_FEATURES_FILE
IN_EXPONENTS = "is in exponent notation and may have lost digits: write all of them"
TOO_LARGE, NOT_WHOLE = "is larger than 64 bits", "is not a whole number"
# The first line after those of a raw log.
BIG_NEXT, DAILY_NEXT = 6, 5
STORED = {
    "9223372036854775807": 2**63 - 1,
    "9223372036854775807.0": 2**63 - 1,
    "9007199254740993.0": 2**53 + 1,
    "-9223372036854775808": -(2**63),
    "+5": 5,
    " 5 ": 5,
    "5.": 5,
    "-0": 0,
    "00012": 12,
    "5.109E+03": 5109,
}
NO_NUMBERS = {
    "9.9E+15": IN_EXPONENTS,
    "1e5": IN_EXPONENTS,
    "1.000E+05": IN_EXPONENTS,
    "9223372036854775808": TOO_LARGE,
    "18300000000141000423": TOO_LARGE,
    "18446744073709551616.0": TOO_LARGE,
    "0x10": NOT_WHOLE,
    "1_000": NOT_WHOLE,
    "inf": NOT_WHOLE,
    "5.5": NOT_WHOLE,
    "\u0663": NOT_WHOLE,  # a digit, but not of ASCII
    "5.10900000000000000001": NOT_WHOLE,
    '"1,000"': NOT_WHOLE,
}


def _plays(videos: Iterable[str] = ("148",), timestamps: Iterable[str] = ("1593878903.438",)) -> str:
    """A play for each video and timestamp, of users from 100 on."""
    pairs = enumerate(product(videos, timestamps), 100)
    return "".join(
        f"{user},{video},3000,6067,2020-07-05 00:08:23.438,20200705,{timestamp},0.494478\n"
        for user, (video, timestamp) in pairs
    )


def test_an_id_is_stored_to_its_last_digit(ingested: Ingested) -> None:
    ingested.raw.files[BIG] += _plays(videos=STORED)
    ingested.run(**{"data.max_reject_share": 0})
    new = ingested.table("interactions").filter(pl.col("user_id") >= 100)
    assert new.sort("user_id")["video_id"].to_list() == [*STORED.values()]


def test_a_key_of_a_play_that_may_have_lost_digits_is_rejected(ingested: Ingested) -> None:
    ingested.raw.files[BIG] += _plays(videos=NO_NUMBERS)
    ingested.run()
    assert ingested.rejects(BIG) == [
        (line, f'column video_id: "{written.strip(chr(34))}" {problem}')
        for line, (written, problem) in enumerate(NO_NUMBERS.items(), BIG_NEXT)
    ]


def test_a_count_of_a_day_that_may_have_lost_digits_is_rejected(ingested: Ingested) -> None:
    ingested.raw.files[DAILY] += "".join(
        f"{video},20200705,8,AD,2020-07-02,public,,{written},4,0\n"
        for video, written in enumerate(NO_NUMBERS, 200)
    )
    ingested.run()
    assert ingested.rejects(DAILY) == [
        (line, f'column show_cnt: "{written.strip(chr(34))}" {problem}')
        for line, (written, problem) in enumerate(NO_NUMBERS.items(), DAILY_NEXT)
    ]


NOTHING = ["NULL", "null", "None", "NaN", "nan", "\\N", "<NA>", ""]


@pytest.mark.parametrize("word", NOTHING)
def test_a_word_for_nothing_is_nothing_in_every_column(ingested: Ingested, word: str) -> None:
    ingested.raw.files[SMALL] += f"16,149,4381,6067,{word},{word},{word},0.722103\n"
    ingested.raw.spoil(BIG, "1593878903.438", word)
    ingested.raw.files[DAILY] += f"184,20200705,{word},{word},{word},{word},{word},5,4,0\n"
    ingested.raw.files[CAPTIONS] += f"150,{','.join([word] * 9)}\n"
    ingested.raw.files[USERS] += f"17,{word},{word},{word}\n"
    ingested.run(**{"data.max_reject_share": 0})
    assert ingested.table("fully_observed").filter(user_id=16)["event_timestamp"].to_list() == [None]
    assert ingested.table("interactions")["event_timestamp"][0] == datetime(
        2020, 7, 4, 16, 8, 23, 438_000, UTC
    )
    day = (
        ingested.table("video_daily")
        .filter(video_id=184)
        .drop("created_timestamp", "video_id", "date", *("show_cnt", "play_cnt", "like_cnt"))
    )
    assert not [value for value in day.row(0) if value is not None]
    assert not [
        value
        for value in ingested.table("video_captions")
        .filter(video_id=150)
        .drop("created_timestamp")
        .row(0)[1:]
        if value
    ]
    assert not [
        value
        for value in ingested.table("users").filter(user_id=17).drop("created_timestamp").row(0)[1:]
        if value is not None
    ]


def test_a_key_without_a_value_is_rejected(ingested: Ingested) -> None:
    ingested.raw.files[BIG] += _plays(videos=NOTHING)
    ingested.run()
    lines = range(BIG_NEXT, BIG_NEXT + len(NOTHING))
    assert ingested.rejects(BIG) == [(line, "column video_id: no value") for line in lines]


def test_minus_124_written_as_a_float_is_no_category(ingested: Ingested) -> None:
    ingested.raw.spoil(CAPTIONS, "-124", "-124.0")
    ingested.run()
    assert -124 not in ingested.table("video_captions")["third_level_category_id"].to_list()


@pytest.mark.parametrize("written", ["880606923", "86400", "1593878903.438", "  1593878903 "])
def test_a_time_since_1970_is_taken(ingested: Ingested, written: str) -> None:
    ingested.raw.spoil(BIG, "1593878903.438", written)
    ingested.run(**{"data.max_reject_share": 0})
    instant = ingested.table("interactions").filter(user_id=15)["event_timestamp"][0]
    assert instant == datetime.fromtimestamp(float(written), UTC)


@pytest.mark.parametrize("days", [0.9, 1.1])
def test_a_play_is_taken_up_to_a_day_past_now(ingested: Ingested, days: float) -> None:
    ingested.raw.spoil(BIG, "1593878903.438", f"{(datetime.now(UTC) + timedelta(days=days)).timestamp():.3f}")
    ingested.run()
    assert [line for line, _ in ingested.rejects(BIG)] == ([4] if days > 1 else [])


SECONDS = "is not Unix seconds like 1593878903.438"


NO_TIMESTAMPS = {
    "1593878903438": f"{SECONDS} but milliseconds",
    "1593878903438000": f"{SECONDS} but microseconds",
    "1593878903438000000": f"{SECONDS} but nanoseconds",
    "1.59E+09": IN_EXPONENTS,
    "0": f"{SECONDS}: it is not between 1970-01-02 and a day past now",
    "-62135596800": f"{SECONDS}: it is not between 1970-01-02 and a day past now",
    "99999999999": f"{SECONDS}: it is not between 1970-01-02 and a day past now",
    "yesterday": SECONDS,
    "inf": SECONDS,
}


def test_a_timestamp_that_is_none_is_quoted_with_what_it_is(ingested: Ingested) -> None:
    ingested.raw.files[BIG] += _plays(timestamps=NO_TIMESTAMPS)
    ingested.run()
    assert ingested.rejects(BIG) == [
        (line, f'column timestamp: "{written}" {problem}')
        for line, (written, problem) in enumerate(NO_TIMESTAMPS.items(), BIG_NEXT)
    ]


LOCAL = "is not a local time like 2020-07-05 00:08:23.438 or 2020-07-05T00:08:23"


NO_LOCAL_TIMES = {
    "05/07/2020 00:08": LOCAL,
    "1593878903.438": "is not a local time but Unix seconds: put them in column timestamp",
    "1593878903438": "is not a local time but Unix milliseconds: put them in column timestamp, as seconds",
    "20200705": LOCAL,
    "0001-01-01 00:00:00": "is not between 1970-01-02 and a day past now",
    "9999-12-31 23:59:59": "is not between 1970-01-02 and a day past now",
}


@pytest.mark.parametrize("file", [BIG, SMALL])
def test_a_local_time_that_is_none_is_quoted_with_the_formats(ingested: Ingested, file: str) -> None:
    bad = (f"{user},149,4381,6067,{written},,,0.722103" for user, written in enumerate(NO_LOCAL_TIMES, 16))
    ingested.raw.files[file] = "\n".join([BIG_HEADER, BIG_ROWS[0], *bad, ""])
    ingested.run()
    assert ingested.rejects(file) == [
        (line, f'column time: "{written}" {problem}')
        for line, (written, problem) in enumerate(NO_LOCAL_TIMES.items(), 3)
    ]


def test_a_local_time_that_clocks_left_out_is_named(ingested: Ingested) -> None:
    ingested.raw.files[BIG] += "17,148,3000,6067,2020-03-29 02:30:00,20200329,,0.494478\n"
    ingested.run(**{"data.time_zone": "Europe/Berlin"})
    assert "does not exist in Europe/Berlin" in ingested.rejects(BIG)[0][1]


@pytest.mark.parametrize("day", ["00010101", "0001-01-01", "99991231", "9999-12-31", "19000101"])
def test_a_day_that_stands_for_none_is_rejected(ingested: Ingested, day: str) -> None:
    ingested.raw.spoil(DAILY, "183,20200705", f"183,{day}")
    ingested.run()
    assert ingested.rejects(DAILY) == [
        (3, f'column date: "{day}" is not between 1970-01-02 and a day past now')
    ]


@pytest.mark.parametrize("day", ["1900-01-01", "1922-03-15", "1970-01-01"])
def test_a_film_older_than_unix_time_keeps_its_day(ingested: Ingested, day: str) -> None:
    ingested.raw.spoil(DAILY, "2020-07-02", day)
    ingested.run(**{"data.max_reject_share": 0})
    daily = ingested.table("video_daily").filter(pl.col("video_id") == 183)
    assert daily["upload_dt"].cast(pl.String).to_list() == [day]
