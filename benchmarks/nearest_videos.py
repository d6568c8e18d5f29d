"""From which catalogue on does approximate search pay, what does it lose, what does a union take to find?

Takes a home with factors. Larger catalogues than its own are made of them: videos drawn again, each moved at
random by half a standard deviation: spread and correlation of the factors stay (a smoothed bootstrap). For
each catalogue, one core, one user at a time: the nearest 500 by going through all videos and by
the source `als_approximate` (faiss), with the share of the nearest that is found; and a union of 2,000 of the
four sources either way. hnswlib and usearch are measured beside them where they are installed, up to 300,000
videos, over the same points, with 16 links a video and 1,000 looked at.

    python benchmarks/nearest_videos.py HOME
    pip install hnswlib usearch                        # to have them measured too
"""

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured_process import machine
from benchmarks.scored_home import ScoredHome
from nightreel.core.catalogue.formulas import products_with
from nightreel.core.settings import load_settings
from pipelines.model_rows.ordering import best_positions
from scoring.lists.candidates import OpenVideos
from scoring.lists.groups import Groups
from scoring.lists.nearest import NearestVideos, equally_long
from scoring.lists.retrieval import Retrieval

RESULT = Path(__file__).parent / "results" / "nearest_videos.json"
CATALOGUES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
GRAPHS_UP_TO, GRAPH_LINKS, GRAPH_LOOKED_AT = 300_000, 16, 1_000
NEAREST, UNION = 500, 2_000
USERS, SEEN, AUTHORS_A_VIDEO, CATEGORIES = 100, 1_750, 0.8, 39
MOVED = 0.5


def load(home: Path) -> tuple[np.ndarray, np.ndarray]:
    """Some users' factors and those of all videos that have any, as of the end of the home's log."""
    os.environ["NIGHTREEL_HOME"] = str(home)
    joined = ScoredHome.load(load_settings()).joined
    users, videos = (
        factors[~np.isnan(factors).any(axis=1)] for factors in (joined.user_factors, joined.video_factors)
    )
    return users[np.linspace(0, len(users) - 1, USERS).astype(int)], videos


def grow(videos: np.ndarray, catalogue: int, random: np.random.Generator) -> np.ndarray:
    """Factors of a catalogue of that size: float32 [catalogue, factors]."""
    if catalogue <= len(videos):
        return videos[:catalogue]
    mean = videos.mean(axis=0)
    root = np.linalg.cholesky(np.cov(videos.T) + 1e-9 * np.eye(videos.shape[1])).astype(np.float32)
    drawn = videos[random.integers(0, len(videos), catalogue)] - mean
    moved = random.standard_normal(drawn.shape, dtype=np.float32) @ root.T
    grown: np.ndarray = mean + np.sqrt(np.float32(1 - MOVED**2)) * drawn + np.float32(MOVED) * moved
    return grown


def measure(users: np.ndarray, videos: np.ndarray, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Each way to search this catalogue."""
    nothing = OpenVideos(np.zeros(-(-len(videos) // 8), dtype=np.uint8), len(videos))
    every = nothing.dense()

    def through_all(user: np.ndarray) -> np.ndarray:
        return best_positions(products_with(videos, user), every, NEAREST)

    exact = [set(through_all(user).tolist()) for user in users]

    def measured(way: str, search: Callable[[np.ndarray], np.ndarray], build_s: float) -> dict[str, Any]:
        started = time.perf_counter()
        found = [search(user) for user in users]
        ms = (time.perf_counter() - started) / len(users) * 1e3
        share = [len(best.intersection(of.tolist())) / NEAREST for best, of in zip(exact, found, strict=True)]
        row = {"catalogue": len(videos), "way": way, "ms": ms, "found": float(np.mean(share))}
        return row | {"build_s": build_s}

    yield measured("exact", through_all, 0)
    nearest, build_s = _timed(lambda: NearestVideos.of(videos))
    assert nearest is not None
    yield measured("faiss", lambda user: nearest.of_user(user, nothing, NEAREST), build_s)
    if len(videos) <= GRAPHS_UP_TO:
        for way, build in (("hnswlib", _hnswlib), ("usearch", _usearch)):
            if importlib.util.find_spec(way):
                search, build_s = _timed(partial(build, videos))
                yield measured(way, search, build_s)
    if len(videos) <= UNION:
        return
    open_videos = [_seen(len(videos), random) for _ in users]
    for way, index in (("exact", None), ("faiss", nearest)):
        sources = _sources(videos, index, random)
        started = time.perf_counter()
        for user, opened in zip(users, open_videos, strict=True):
            sources.of_user(opened, user)
        ms = (time.perf_counter() - started) / len(users) * 1e3
        yield {"catalogue": len(videos), "way": f"union, {way}", "ms": ms}


def _seen(videos: int, random: np.random.Generator) -> OpenVideos:
    seen = np.zeros(videos, dtype=np.uint8)
    seen[random.integers(0, videos, SEEN)] = 1
    return OpenVideos(np.packbits(seen), videos)


def _sources(videos: np.ndarray, nearest: NearestVideos | None, random: np.random.Generator) -> Retrieval:
    popular = random.permutation(len(videos))
    at = np.argsort(popular)
    authors = random.integers(0, int(len(videos) * AUTHORS_A_VIDEO), len(videos))
    categories = random.integers(0, CATEGORIES, len(videos))
    return Retrieval(
        ("als" if nearest is None else "als_approximate", "popular", "fresh", "content_based"),
        UNION,
        popular,
        random.permutation(len(videos)),
        Groups.of(authors, at),
        Groups.of(categories, at),
        videos,
        random.permutation(len(videos)),
        nearest,
    )


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    done = work()
    return done, time.perf_counter() - started


def _hnswlib(videos: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    import hnswlib

    index = hnswlib.Index("l2", videos.shape[1] + 1)
    index.init_index(len(videos), ef_construction=100, M=GRAPH_LINKS)
    index.add_items(equally_long(videos), num_threads=1)
    index.set_ef(GRAPH_LOOKED_AT)
    return lambda user: index.knn_query(_asked(user), NEAREST, num_threads=1)[0][0]


def _usearch(videos: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    from usearch.index import Index

    index = Index(
        ndim=videos.shape[1] + 1,
        metric="l2sq",
        dtype="f32",
        connectivity=GRAPH_LINKS,
        expansion_add=100,
        expansion_search=GRAPH_LOOKED_AT,
    )
    index.add(np.arange(len(videos)), equally_long(videos), threads=1)
    return lambda user: index.search(_asked(user), NEAREST, threads=1).keys


def _asked(user: np.ndarray) -> np.ndarray:
    return np.append(user, np.float32(0))


def main() -> None:
    """Measure, print the table, write the result file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path, help="a home with features and a champion; it is only read")
    parser.add_argument("--catalogues", type=int, nargs="+", default=CATALOGUES, help="numbers of videos")
    parser.add_argument("--out", type=Path, default=RESULT, help="where the figures are written")
    arguments = parser.parse_args()
    users, videos = load(arguments.home.resolve())
    random = np.random.default_rng(7)
    rows = []
    print(f"{'videos':>10} {'':<14}{'ms a user':>10} {'found':>7} {'build s':>8}")
    for catalogue in arguments.catalogues:
        for row in measure(users, grow(videos, catalogue, random), random):
            rows.append(row)
            found = f"{row['found']:.3f} {row['build_s']:>8.1f}" if "found" in row else ""
            print(f"{row['catalogue']:>10,} {row['way']:<14}{row['ms']:>10.2f} {found:>7}", flush=True)
    arguments.out.parent.mkdir(exist_ok=True)
    measured_on = machine("numpy", "faiss-cpu") | {"load": round(os.getloadavg()[0], 1)}
    measured = {"machine": measured_on, "users": len(users), "results": rows}
    arguments.out.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
