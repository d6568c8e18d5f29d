"""Files that cannot be read are named; one that changes while it is read is not lost; advice helps."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from pipelines.ingest import csv_inspection, csv_reading, ingest
from tests.fixtures.raw_log import BIG_HEADER, BIG_ROWS
from tests.pipelines.ingest.conftest import Ingested

BIG, USERS = columns.BIG_MATRIX_FILE, columns.USER_FEATURES_FILE
SOCIAL = columns.SOCIAL_NETWORK_FILE


@pytest.mark.parametrize("when", ["before the first batch", "after the last batch"])
@pytest.mark.parametrize("change", ["grows", "is rewritten"])
def test_plays_that_come_while_the_log_is_read_come_in_the_next_time(
    ingested: Ingested, monkeypatch: pytest.MonkeyPatch, when: str, change: str
) -> None:
    made = ingested.settings(**{"data.max_reject_share": 0})
    path = ingested.raw.write(made.data.raw_dir) / BIG
    late = BIG_ROWS[0].replace("14,", "17,", 1) + "\n"
    changed = path.read_text() + late
    if change == "is rewritten":
        changed = changed.replace("\n14,", "\n18,")

    def racing(file: Path, header: csv_inspection.Header) -> Iterator[csv_reading.TextBatch]:
        if file == path and when == "before the first batch":
            path.write_text(changed)
        yield from csv_reading.read_batches(file, header)
        if file == path:
            path.write_text(changed)

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.ingest.tables.read_batches", racing)
        ingest(made)
    ingest(made)
    users = [14, 14, 15, 16, 17] if change == "grows" else [15, 16, 17, 18, 18]
    assert sorted(ingested.table("interactions")["user_id"].to_list()) == users
    assert not ingested.rejects(BIG)


@pytest.mark.parametrize("file", [USERS, SOCIAL])
@pytest.mark.parametrize("kind", ["dangling link", "loop", "folder", "pipe", "mode 000"])
def test_what_cannot_be_read_is_named_with_the_reason(ingested: Ingested, file: str, kind: str) -> None:
    if kind == "mode 000" and os.geteuid() == 0:
        pytest.skip("root reads everything")
    made = ingested.settings()
    path = ingested.raw.write(made.data.raw_dir) / file
    if kind == "mode 000":
        path.chmod(0)
    else:
        path.unlink()
    if kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(
        InputError, match=r"a link to a file that does not exist|not a file|cannot be read"
    ) as refused:
        ingest(made)
    assert str(path) in refused.value.message
    assert refused.value.remedy


def test_a_file_without_a_good_row_is_not_to_be_let_through(ingested: Ingested) -> None:
    ingested.raw.files[BIG] = "\n".join([BIG_HEADER, *map(_without_user, BIG_ROWS[:2])]) + "\n"
    with pytest.raises(InputError, match="No row is good") as refused:
        ingested.run(**{"data.max_reject_share": 0.01})
    assert "max_reject_share = 1" not in str(refused.value)


def test_almost_only_bad_rows_are_not_advised_to_be_let_through_as_all(ingested: Ingested) -> None:
    bad = f"{_without_user(BIG_ROWS[0])}\n" * 1000
    ingested.raw.files[BIG] = f"{BIG_HEADER}\n{BIG_ROWS[0]}\n{bad}"
    with pytest.raises(InputError) as refused:
        ingested.run(**{"data.max_reject_share": 0.01})
    assert "max_reject_share = 1." not in str(refused.value)


def _without_user(row: str) -> str:
    """The row with an empty user_id, which no kind of id has."""
    return f",{row.partition(',')[2]}"
