"""Ids whose hashes are the same stay different ids: only equal bytes make one of two."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightreel.core.ids import Ids
from pipelines.ingest import id_index
from pipelines.ingest.id_codes import Codes
from pipelines.ingest.ids import forget_id

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_hashes = id_index.hashes


@settings(max_examples=60, deadline=None)
@given(nights=st.lists(st.lists(_TEXT, max_size=30), max_size=4), different=st.integers(1, 5))
def test_ids_of_one_hash_keep_a_code_each(
    tmp_path_factory: pytest.TempPathFactory, nights: list[list[str]], different: int
) -> None:
    file = tmp_path_factory.mktemp("ids") / "user.parquet"
    Codes().write(file)
    known: dict[str, int] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_index, "hashes", lambda ids: _hashes(ids) % np.uint64(different))
        for texts in nights:
            codes = Codes.read(file)
            given_now = codes.codes(pl.Series("id", texts, dtype=pl.String)).to_list()
            assert given_now == [known.setdefault(text, len(known)) for text in texts]
            codes.write(file)
    assert list(pl.read_parquet(file).iter_rows()) == list(known.items())


def test_hashes_may_differ_from_night_to_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not in the file, so a new Polars may hash otherwise."""
    file = tmp_path / "user.parquet"
    ids = pl.Series("id", [f"user {n % 3000}" for n in range(5000)])
    codes = Codes()
    before = codes.codes(ids)
    codes.write(file)
    monkeypatch.setattr(id_index, "hashes", lambda ids: _hashes(ids) // np.uint64(3))
    assert Codes.read(file).codes(ids).equals(before)
    assert Ids("user", file, is_text=True).outward(before.to_numpy()) == ids.to_list()


def test_a_table_that_grows_keeps_crowded_ids() -> None:
    """More ids than the first table has room for, all of a few hashes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_index, "hashes", lambda ids: _hashes(ids) % np.uint64(300))
        codes = Codes()
        ids = pl.Series("id", [str(n) for n in range(3000)])
        for part in (ids[:5], ids[:700], ids[600:], ids):
            codes.codes(part)
        assert codes.codes(ids).to_list() == list(range(3000))
        assert len(codes) == 3000


def test_the_code_of_a_forgotten_id_is_given_to_no_other(tmp_path: Path) -> None:
    file = tmp_path / "user.parquet"
    codes = Codes()
    codes.codes(pl.Series("id", ["a", "b", "c"]))
    codes.write(file)
    forget_id(Ids("user", file, is_text=True), "b")
    codes = Codes.read(file)
    assert codes.codes(pl.Series("id", ["c", "d", "b", "a"])).to_list() == [2, 3, 4, 0]
    codes.write(file)
    assert pl.read_parquet(file).rows() == [("a", 0), (None, 1), ("c", 2), ("d", 3), ("b", 4)]
