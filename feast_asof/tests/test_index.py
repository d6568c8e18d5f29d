"""The index against a walk over all rows: keys, instants and units as the store does not choose them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asof_fixtures.made_up import QUICK
from feast_asof.index import build_index
from feast_asof.search import BLOCK_ROWS, distinct, search, stable_order
from feast_asof.times import Instants, Unit

# Whole and split microseconds around 1970, and instants so far apart that int64 cannot hold their distance.
NANOSECONDS = st.one_of(
    st.integers(-3_002, 3_002), st.sampled_from([-(2**63) + 1, 2**63 - 1, 10**18, 10**18 + 1])
)
KEYS = st.one_of(st.none(), st.integers(0, 3), st.sampled_from([-(2**63), 2**63 - 1, 10**12]))
UNITS = st.sampled_from(["us", "ns"])
TTLS_US = st.sampled_from([0, 1, 3, 10**18])
ROWS = st.lists(st.tuples(KEYS, KEYS, NANOSECONDS), max_size=14)


def _instants(nanoseconds: list[int], unit: Unit) -> Instants:
    scale = 1000 if unit == "us" else 1
    return Instants(np.array([value // scale for value in nanoseconds], dtype=np.int64), unit)


def _exactly(instants: Instants) -> list[int]:
    return [int(value) * (1000 if instants.unit == "us" else 1) for value in instants.values]


@QUICK
@given(
    source=ROWS,
    asked=ROWS,
    units=st.tuples(UNITS, UNITS),
    ttl_us=st.sampled_from([0, 1, 3, 10**18]),
    two=st.booleans(),
)
@example([(3, None, -(2**63) + 1)], [(3, None, 1)], ("ns", "ns"), 10**18, False)
def test_every_row_found_is_that_of_a_walk(
    source: list[Any], asked: list[Any], units: tuple[Unit, Unit], ttl_us: int, two: bool
) -> None:
    """Any keys, one column or two, any units, any order: the newest row of the key, no older than the ttl."""
    columns = 2 if two else 1
    keys, asked_keys = (
        [pa.array([row[at] for row in rows], pa.int64()) for at in range(columns)] for rows in (source, asked)
    )
    times = _instants([row[2] for row in source], units[0])
    asked_times = _instants([row[2] for row in asked], units[1])
    found = build_index(keys, times).lookup(asked_keys, asked_times, ttl_us)
    exact = _exactly(times)
    for row, (entity, at) in enumerate(zip(asked, _exactly(asked_times), strict=True)):
        known = [
            (exact[number], number)
            for number, other in enumerate(source)
            if None not in entity[:columns]
            and other[:columns] == entity[:columns]
            and exact[number] <= at
            and (not ttl_us or exact[number] + ttl_us * 1000 >= at)
        ]
        assert found[row] == (max(known)[1] if known else -1)


@pytest.mark.parametrize("top", [1, 2**20, 2**62])
def test_sorting_and_searching_are_numpys(top: int) -> None:
    """More values than a block has, with ties, in one pass and in two."""
    random = np.random.default_rng(3)
    values = random.integers(0, top, BLOCK_ROWS + 5)
    assert np.array_equal(stable_order(values), np.argsort(values, kind="stable"))
    haystack = np.sort(values)
    assert np.array_equal(distinct(values), np.unique(values))
    for needles in (values, haystack, values - top // 2):
        for side in ("left", "right"):
            assert np.array_equal(search(haystack, needles, side), np.searchsorted(haystack, needles, side))


@pytest.mark.parametrize("shape", ["runs", "a long run", "by key", "dense"])
def test_large_sources_find_what_numpy_finds(shape: str) -> None:
    """In order of time, as a log is, or by key; short runs of values or a long one; few instants or many."""
    random = np.random.default_rng(4)
    rows, asked = 70_000, 20_000
    keys = random.integers(0, 900, rows)
    times = np.sort(random.choice(50 if shape == "dense" else 10**12, rows))
    if shape == "a long run":
        keys[20_000:50_000], times[20_000:50_000] = 5, times[20_000]
    if shape == "by key":
        order = np.argsort(keys, kind="stable")
        keys, times = keys[order], times[order]
    asked_keys, asked_times = random.integers(-3, 905, asked), random.integers(-5, 10**12 + 5, asked)
    asked_times[:rows:3] = random.choice(times, len(asked_times[:rows:3]))
    index = build_index([pa.array(keys)], Instants(times, "us"))
    assert (index.runs is None) == (shape in ("a long run", "dense"))
    found = index.lookup([pa.array(asked_keys)], Instants(asked_times, "us"))
    by_key = np.lexsort((np.arange(rows), times, keys))
    sorted_keys, sorted_times = keys[by_key], times[by_key]
    for row in range(0, asked, 7):
        start, end = np.searchsorted(sorted_keys, [asked_keys[row], asked_keys[row] + 1])
        newest = start + np.searchsorted(sorted_times[start:end], asked_times[row], "right") - 1
        assert found[row] == (by_key[newest] if newest >= start else -1)
