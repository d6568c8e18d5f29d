"""A quote that is left open takes no row with it unseen, and lines are those of the file."""

import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from tests.fixtures.raw_log import CAPTION_HEADER
from tests.pipelines.ingest.conftest import Ingested

CAPTIONS = columns.CAPTION_FILE
END = "[],-124,UNKNOWN,-124,UNKNOWN,-124,UNKNOWN"


def _captions(texts: list[str]) -> str:
    rows = [f"{number},UNKNOWN,{text},{END}" for number, text in enumerate(texts)]
    return "\n".join((CAPTION_HEADER, *rows)) + "\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('"open', '"again'),  # what follows the second quote is text
        ('"open', 'again"'),  # well formed, but what is within looks like rows
        ('"open ""x""', '"again'),
    ],
)
@pytest.mark.parametrize("between", [0, 1, 3])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_rows_that_a_quote_swallows_are_rejected_by_lines(
    ingested: Ingested, first: str, second: str, between: int, line_end: str
) -> None:
    texts = ["good", first, *["lost"] * between, second, '"well\nquoted"', "good"]
    ingested.raw.files[CAPTIONS] = _captions(texts).replace("\n", line_end)
    ingested.run()
    rejects = ingested.rejects(CAPTIONS)
    last = 4 + between
    assert [line for line, _ in rejects] == list(range(3, last + 1))
    assert {why for _, why in rejects} == {
        f"a quote that opens on line 3 takes the rows to line {last} with it"
    }
    kept = ingested.table("video_captions")
    assert kept["video_id"].to_list() == [0, 3 + between, 4 + between]
    assert kept["caption"][1] in ("well\nquoted", "well\r\nquoted")


def test_swallowed_rows_count_for_max_reject_share(ingested: Ingested) -> None:
    texts = ["good"] * 40
    texts[10], texts[20] = '"open', '"again'
    ingested.raw.files[CAPTIONS] = _captions(texts)
    with pytest.raises(InputError, match=r"line 12, a quote that opens on line 12 .* 11 of 40 rows"):
        ingested.run(**{"data.max_reject_share": 0.2})


@pytest.mark.parametrize(
    "caption",
    ['"one\ntwo, three\nfour"', '"list:\n1, eggs\n2, milk"', 'a 5" screen and a 7" one', '"say ""a,b""\nx"'],
)
def test_texts_with_line_breaks_and_quotes_are_kept(ingested: Ingested, caption: str) -> None:
    ingested.raw.files[CAPTIONS] = _captions(["good", caption, "good"])
    ingested.run(**{"data.max_reject_share": 0})
    text = caption.removeprefix('"').removesuffix('"').replace('""', '"')
    assert ingested.table("video_captions")["caption"].to_list() == ["good", text, "good"]


def test_a_quote_that_is_never_closed_is_named_by_its_own_line(ingested: Ingested) -> None:
    ingested.raw.files[CAPTIONS] = _captions(["good", '"open', "lost", '"well\nquoted"', "good"])
    with pytest.raises(InputError, match=r"the one that opens on line 3 is never closed"):
        ingested.run()


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_lines_after_a_broken_row_with_line_breaks_are_those_of_the_file(
    ingested: Ingested, line_end: str
) -> None:
    broken = f'7,UNKNOWN,"a\nb\nc",{END},extra\n'
    bad = f'x,UNKNOWN,"d\ne",{END}\n'
    text = _captions(["good"]) + broken + "\n" + bad + f"1,2\n{broken}" + bad
    ingested.raw.files[CAPTIONS] = text.replace("\n", line_end)
    ingested.run()
    rejects = ingested.rejects(CAPTIONS)
    assert [line for line, why in rejects if "x" in why.split(":")[-1]] == [7, 13]
    assert [line for line, why in rejects if why.startswith("11 fields")] == [3, 4, 5, 10, 11, 12]
    assert "a quote opens on line 3, the row ends on line 5" in rejects[0][1]
    assert (9, "2 fields where the header has 10") in rejects
