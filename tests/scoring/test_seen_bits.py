"""The bits of what was seen stay in their file: another process gets numbers of rows, and reads them."""

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import NightreelError
from nightreel.core.settings import ClusterSettings
from pipelines.features.gained_plays import GainedPlays
from pipelines.features.seen_pairs import NewPlays, add_plays
from pipelines.features.stored_pairs import StoredPairs, files_of_pairs, in_groups, write_pairs
from scoring.lists.seen_bits import SeenBits

USERS, VIDEOS = 1_200, 3_000


def _write(folder: Path, seed: int) -> np.ndarray:
    """Write pairs at random, each user with one at least; returns their table: bool [users, videos]."""
    played = np.random.default_rng(seed).random((USERS, VIDEOS)) < 0.01
    played[:, seed] = True
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        rows = in_groups(np.packbits(played, axis=1))
        write_pairs(temporary, np.arange(USERS), np.arange(VIDEOS), rows)
    return played


def _opened(folder: Path) -> SeenBits:
    pairs = StoredPairs(folder)
    return SeenBits(pairs.rows_of(np.arange(USERS)), pairs.over(np.arange(VIDEOS)))


def _elsewhere(seen: SeenBits) -> SeenBits:
    """As another process gets it."""
    found: SeenBits = pickle.loads(pickle.dumps(seen))
    return found


def test_a_part_read_elsewhere_is_the_table_s(tmp_path: Path) -> None:
    played = _write(tmp_path / "pairs", 1)
    part = np.array([3, 4, 5, 511, 512, 900, USERS - 1])
    bits = _elsewhere(_opened(tmp_path / "pairs").of_users(part)).of(slice(None))
    np.testing.assert_array_equal(np.unpackbits(bits, axis=1, count=VIDEOS), played[part])


def test_what_is_sent_does_not_hold_the_bits(tmp_path: Path) -> None:
    """A number for each user and for each video is sent, not a bit for each pair."""
    _write(tmp_path / "pairs", 1)
    seen = _opened(tmp_path / "pairs")
    before = len(pickle.dumps(seen))
    seen.of(slice(None))
    assert len(pickle.dumps(seen)) == before < 8 * (USERS + VIDEOS) + 1_000 < USERS * VIDEOS / 8
    assert len(pickle.dumps(seen.in_memory())) > USERS * VIDEOS / 8


def test_who_opened_the_file_reads_it_still_and_others_refuse_the_new_one(tmp_path: Path) -> None:
    """Features may replace the file while lists are made: none is made half of one, half of the other."""
    folder = tmp_path / "pairs"
    played = _write(folder, 1)
    seen = _opened(folder)
    elsewhere = _elsewhere(seen)
    _write(folder, 2)
    assert not np.array_equal(_opened(folder).of(slice(None)), seen.of(slice(None)))
    np.testing.assert_array_equal(np.unpackbits(seen.of(slice(None)), axis=1, count=VIDEOS), played)
    with pytest.raises(NightreelError, match=r"replaced while lists were made.*nightreel score"):
        elsewhere.of(slice(None))


def test_a_node_that_does_not_reach_the_home_says_so(tmp_path: Path) -> None:
    _write(tmp_path / "pairs", 1)
    elsewhere = _elsewhere(_opened(tmp_path / "pairs"))
    files_of_pairs(tmp_path / "pairs")[0].unlink()
    with pytest.raises(NightreelError, match=r"not there on .*every node"):
        elsewhere.of(slice(None))


def test_a_file_of_an_earlier_nightreel_is_read(tmp_path: Path) -> None:
    """It has its users in order of appearance, all in one row group, and a length with the bits of each."""
    ids, bits = [7, 3, 5], [b"\x80\x01", b"\x00\x02", b"\xff\x00"]
    users, videos = files_of_pairs(tmp_path)
    schema = {"user_id": pl.Int64, "bits": pl.Binary}
    pl.DataFrame({"user_id": ids, "bits": bits}, schema=schema).write_parquet(users)
    pl.DataFrame({"video_id": range(16, 0, -1)}).write_parquet(videos)
    pairs = StoredPairs(tmp_path)
    found = pairs.over(np.arange(1, 17)).read(pairs.rows_of(np.array([3, 4, 5, 7])))
    assert found.tolist() == [[0x40, 0x00], [0x00, 0x00], [0x00, 0xFF], [0x80, 0x01]]
    # The next night stores them by user.
    new = tmp_path / "new"
    new.mkdir()
    nothing = NewPlays(GainedPlays({}, frozenset(), {}, frozenset()), ())
    add_plays(new, pairs, nothing, np.array([3, 5, 7]), np.arange(1, 17), cluster=ClusterSettings())
    again = StoredPairs(new)
    assert again.user_ids.tolist() == [3, 5, 7]
    np.testing.assert_array_equal(
        again.over(np.arange(1, 17)).read(again.rows_of(np.array([3, 4, 5, 7]))), found
    )
