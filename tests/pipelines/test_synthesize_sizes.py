"""Synthetic data of any size: one seed gives the same bytes, odd sizes work, impossible ones are refused."""

from pathlib import Path

import polars as pl
import pytest

from nightreel.core.errors import InputError
from synthetic import synthesize
from synthetic.sizes import Sizes


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _made(folder: Path, **arguments: int) -> dict[str, bytes]:
    folder.mkdir()
    sizes = {"users": 90, "videos": 120, "interactions": 4_000, "seed": 3} | arguments
    synthesize(folder, **sizes, truth=folder / "truth.parquet")
    return _contents(folder)


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """In all seven files and the truth."""
    first, second = _made(tmp_path / "first"), _made(tmp_path / "second")
    assert len(first) == 8
    assert first == second


def test_other_seed_gives_other_bytes(tmp_path: Path) -> None:
    """In each of the eight files."""
    first, second = _made(tmp_path / "first"), _made(tmp_path / "second", seed=4)
    assert [name for name in first if first[name] == second[name]] == []


@pytest.mark.parametrize(
    ("users", "videos", "interactions", "days"),
    [
        (30, 60, 500, 63),
        (40, 1_500, 2_000, 63),
        (500, 20, 6_000, 63),
        (1, 2, 1, 3),
        (50, 80, 50, 63),
        (5, 10, 2_000, 63),
        (200, 300, 8_000, 4),
        (100, 200, 5_000, 200),
    ],
)
def test_any_size_works(tmp_path: Path, users: int, videos: int, interactions: int, days: int) -> None:
    """Rows as asked for and as announced, in every file; each user has one; small never meets big."""
    rows = synthesize(tmp_path, users=users, videos=videos, interactions=interactions, days=days, seed=0)
    tables = {path.name: pl.read_csv(path, infer_schema_length=None) for path in tmp_path.iterdir()}
    assert rows == {name: table.height for name, table in tables.items()}
    big, small = tables["big_matrix.csv"], tables["small_matrix.csv"]
    assert big.height == interactions
    assert big["user_id"].n_unique() == users
    assert small.height >= 1
    assert big["date"].n_unique() <= days
    hole = big.join(small, on="user_id", how="semi").join(small, on="video_id", how="semi")
    assert hole.is_empty()
    assert (big["play_duration"] >= 0).all()


def test_size_of_small_can_be_chosen(tmp_path: Path) -> None:
    """Users and videos of small_matrix, in place of KuaiRec's proportions."""
    sizes = {"users": 90, "videos": 120, "interactions": 4_000, "seed": 3}
    synthesize(tmp_path, **sizes, small_users=7, small_videos=50)
    small = pl.read_csv(tmp_path / "small_matrix.csv")
    assert (small["user_id"].n_unique(), small["video_id"].n_unique()) == (7, 50)


def test_sizes_of_kuairec_are_the_default_proportions() -> None:
    """1,411 users and 3,327 videos of small for KuaiRec's 7,176 and 10,728."""
    sizes = Sizes.checked(
        users=7_176,
        videos=10_728,
        interactions=12_530_806,
        days=63,
        seed=0,
        small_users=None,
        small_videos=None,
    )
    assert (sizes.small_users, sizes.small_videos) == (1_411, 3_327)


def test_progress_adds_up_to_the_interactions(tmp_path: Path) -> None:
    """Reported block by block."""
    reported: list[float] = []

    def advance(amount: float = 1) -> None:
        reported.append(amount)

    synthesize(tmp_path, users=150, videos=100, interactions=3_000, seed=1, on_progress=advance)
    assert sum(reported) == 3_000
    assert len(reported) > 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"users": 0}, "users is 0"),
        ({"videos": 1}, "videos is 1"),
        ({"days": 2}, "days is 2"),
        ({"seed": -1}, "seed is -1"),
        ({"interactions": 9}, "9 interactions are too few for 10 users"),
        ({"interactions": 10_000_001}, "are too many for 10 users"),
        ({"small_users": 11}, "small_users is 11"),
        ({"small_videos": 20}, "small_videos is 20"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, int], named: str) -> None:
    """By name and number, and nothing is written."""
    sizes = {"users": 10, "videos": 20, "interactions": 100, "seed": 0} | wrong
    with pytest.raises(InputError, match=named):
        synthesize(tmp_path / "out", **sizes)
    assert not (tmp_path / "out").exists()
