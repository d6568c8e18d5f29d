"""Parts of a trial that are counted apart: some users, or some of every user's pairs."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipelines.cold_users import COLD_PLAYS
from pipelines.evaluate.trials import KINDS, Trial

_QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
_AGES_DAYS = (7, 30, 90)
_LENGTHS_S = (7, 10, 15, 30, 60)
_CATEGORIES = 10


@dataclass(frozen=True)
class Segmentation:
    """Slices that do not overlap: their names, and the slice of each user or each pair; -1 for none."""

    names: tuple[str, ...]
    codes: np.ndarray


def user_families(trial: Trial) -> list[Segmentation]:
    """Slices of users, by how much they had watched before and by whether they are cold: a code per user."""
    # Equal counts fall in one slice, so that the order of users does not matter.
    share = np.searchsorted(np.sort(trial.plays), trial.plays) / max(len(trial.plays), 1)
    quarter = np.minimum((share * 4).astype(np.int64), 3)
    cold = (trial.plays < COLD_PLAYS).astype(np.int64)
    return [
        Segmentation(tuple(f"activity: {name}" for name in _QUARTERS), quarter),
        Segmentation((f"users: {COLD_PLAYS} plays or more", f"users: cold, under {COLD_PLAYS} plays"), cold),
    ]


def pair_families(trial: Trial) -> list[Segmentation]:
    """Slices of pairs by the video's age, popularity, length and category, and by kind; one code per pair."""
    videos = trial.videos
    decile = np.minimum((videos.popularity * 10).astype(np.int64), 9)
    families = [
        _binned("age", "d", _AGES_DAYS, videos.age_days),
        Segmentation(tuple(f"popularity: decile {tenth}" for tenth in range(1, 11)), decile),
        _binned("length", "s", _LENGTHS_S, videos.length_s),
        _categories(trial),
    ]
    # A byte per pair each: there are millions of pairs and a handful of slices.
    by_pair = [Segmentation(family.names, family.codes.astype(np.int8)[trial.video]) for family in families]
    return [*by_pair, Segmentation(tuple(f"kind: {name}" for name in KINDS), trial.kind)]


def _binned(what: str, unit: str, edges: tuple[int, ...], values: np.ndarray) -> Segmentation:
    names = [f"under {edges[0]} {unit}"]
    names += [f"{low} to {high} {unit}" for low, high in pairwise(edges)]
    names += [f"{edges[-1]} {unit} or more"]
    codes = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
    return Segmentation(tuple(f"{what}: {name}" for name in names), codes)


def _categories(trial: Trial) -> Segmentation:
    """The most frequent categories of the pairs, and all others together."""
    names = trial.videos.category_names
    counts = np.bincount(trial.videos.category[trial.video], minlength=len(names))
    largest = np.argsort(-counts, kind="stable")[:_CATEGORIES]
    codes = np.full(len(names), len(largest))
    codes[largest] = np.arange(len(largest))
    chosen = [f"category: {names[position]}" for position in largest]
    return Segmentation((*chosen, "category: others"), codes[trial.videos.category])
