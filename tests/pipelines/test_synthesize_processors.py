"""The same seed gives the same world on every processor; and the arithmetic that this rests on is right."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.special

from synthetic import draws, exact
from tests.fixtures.processors import PROCESSORS

_SYNTHESIZE = """
import sys
from pathlib import Path
from synthetic import synthesize
out = Path(sys.argv[1])
plays = int(sys.argv[2])
synthesize(out, users=150, videos=300, interactions=plays, days=30, seed=3, truth=out / "truth.parquet")
"""


def _digests(folder: Path, processor: dict[str, str], plays: int) -> dict[str, str]:
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-c", _SYNTHESIZE, str(folder), str(plays)],
        env={**os.environ, **processor},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_on_every_processor(tmp_path: Path) -> None:
    files = {name: _digests(tmp_path / name, processor, 6_000) for name, processor in PROCESSORS.items()}
    assert len(files["this one"]) == 8
    for name, found in files.items():
        assert found == files["this one"], name


def test_a_world_is_the_one_that_every_other_machine_has(tmp_path: Path) -> None:
    """Bytes made on another machine; a change of the generator changes them, a change of machine never."""
    log = _digests(tmp_path / "log", {}, 30_000)["big_matrix.csv"]
    assert log.startswith("81706d68bc3bedc2100362e64e2459ce")


def test_functions_are_those_of_scipy() -> None:
    random = np.random.default_rng(1)
    x = random.normal(0, 20, 50_000)
    positive = np.exp(x)
    assert exact.exp(x) == pytest.approx(np.exp(x), rel=1e-15)
    assert exact.log(positive) == pytest.approx(x, rel=1e-14, abs=1e-15)
    assert exact.power(positive, 0.3) == pytest.approx(positive**0.3, rel=1e-13)
    assert exact.expit(x) == pytest.approx(scipy.special.expit(x), rel=1e-14)
    assert exact.cos(x) == pytest.approx(np.cos(x), abs=1e-12)
    assert exact.ndtr(x / 10) == pytest.approx(scipy.special.ndtr(x / 10), abs=1e-7)
    share = random.random(50_000)
    assert draws.normal_quantile(share) == pytest.approx(scipy.special.ndtri(share), abs=1e-13)


def test_a_line_is_interpolated_as_numpy_does_it() -> None:
    points, values = (0.0, 0.25, 1.0), np.array([1.0, 2.0, 10.0])
    at = np.array([-1.0, 0.0, 0.1, 0.25, 0.7, 1.0, 2.0])
    assert exact.interpolate(at, points, values) == pytest.approx(np.interp(at, points, values))


@pytest.mark.parametrize(("trials", "chance"), [(5, 0.3), (1000, 0.001), (40, 0.9), (20_000, 0.3), (7, 0.0)])
def test_binomial_draws_have_their_mean_and_spread(trials: int, chance: float) -> None:
    rows = 40_000
    drawn = draws.binomial(np.random.default_rng(2), np.full(rows, trials), chance)
    variance = trials * chance * (1 - chance)
    assert drawn.min() >= 0 and drawn.max() <= trials
    assert drawn.mean() == pytest.approx(trials * chance, abs=4 * (variance / rows) ** 0.5)
    assert drawn.var() == pytest.approx(variance, rel=0.05)


def test_waiting_times_have_their_means() -> None:
    random = np.random.default_rng(3)
    assert draws.exponential(random, 40_000).mean() == pytest.approx(1, abs=0.02)
    assert draws.geometric(random, 0.35, 40_000).mean() == pytest.approx(1 / 0.35, abs=0.05)
    assert draws.geometric(random, 0.35, 40_000).min() == 1
    assert np.median(draws.pareto(random, 1.1, 40_000)) == pytest.approx(2 ** (1 / 1.1) - 1, rel=0.05)
