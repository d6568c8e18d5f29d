"""On real pieces of KuaiRec, where they are at hand, the hybrid ranks no worse than popularity."""

from pathlib import Path

import pytest

from benchmarks.real_pieces import VALID_FILE, read_pieces, write_raw
from benchmarks.real_positives import METRICS, SETTINGS, Figure, compare, ranked_users, scores_of
from feature_repo.open_store import apply_definitions
from nightreel.core.settings import load_settings
from pipelines.features import build_features
from pipelines.ingest import ingest
from pipelines.rankers import train

pytestmark = pytest.mark.slow

PIECES = Path(__file__).parents[3] / "shared" / "kuairec" / "real"
# Enough to tell the systems apart, and little enough for every run of the tests.
USER_SHARE, VIDEOS, OTHERS = 0.1, 800, 3.0
SMALL = "ranker.lightgbm.num_iterations = 60\nfeatures.als.factors = 16\n"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Figure]:
    """Each system's figure of each metric."""
    if not (PIECES / VALID_FILE).is_file():
        pytest.skip(f"the real pieces of KuaiRec, which are not part of this repository, are not in {PIECES}")
    home = tmp_path_factory.mktemp("pieces")
    (home / "nightreel.toml").write_text(SETTINGS + SMALL, encoding="utf-8")
    pieces = read_pieces(PIECES, user_share=USER_SHARE, videos=VIDEOS)
    write_raw(pieces, PIECES, home / "raw", others=OTHERS, exposure="even", seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTREEL_HOME", str(home))
        settings = load_settings()
        ingest(settings)
        build_features(settings)
        apply_definitions(settings)
        train(settings)
        users = ranked_users(pieces, len(pieces.users))
        found = compare(pieces, users, scores_of(pieces, users))
    return {(figure.system, figure.metric): figure for figure in found}


@pytest.mark.parametrize("metric", METRICS)
def test_the_hybrid_is_not_below_popularity(figures: dict[tuple[str, str], Figure], metric: str) -> None:
    """No metric says with 95 % confidence that popularity by positives ranks better."""
    assert figures["hybrid", metric].difference_high >= 0


def test_the_hybrid_finds_more_in_a_hundred_than_popularity(
    figures: dict[tuple[str, str], Figure],
) -> None:
    """Where taste can tell, the hybrid is clearly ahead: the whole interval of the difference is above 0."""
    assert figures["hybrid", "recall@100"].difference_low > 0


def test_popularity_is_a_baseline_worth_the_name(figures: dict[tuple[str, str], Figure]) -> None:
    """The check could fail: what it compares with finds several times what chance finds."""
    popular = figures["popularity_by_positives", "precision@10"]
    assert popular.value > 3 * figures["random", "precision@10"].value
