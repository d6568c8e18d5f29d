"""The candidate sources by the names that the setting `[retrieval] sources` accepts, also the user's own."""

from collections.abc import Mapping

from nightreel.core.extras import SEQUENCE
from nightreel.core.own_models import SOURCES as OWN
from nightreel.core.own_models import load_own, version_of
from pipelines.retrieval.als import Als
from pipelines.retrieval.biased_als import BiasedAls
from pipelines.retrieval.bpr import Bpr
from pipelines.retrieval.ease import Ease
from pipelines.retrieval.item_knn import ItemKnn
from pipelines.retrieval.next_played import NextPlayed
from pipelines.retrieval.own import OwnSource
from pipelines.retrieval.recent import Fresh, Recent
from pipelines.retrieval.same_group import SameGroup
from pipelines.retrieval.same_profile import SameProfile
from pipelines.retrieval.sequence.source import Sequence
from pipelines.retrieval.sources import Source, file_of_fit

# Sources that know the user: the mean of their scores orders well where there is little to learn from.
PERSONAL: Mapping[str, Source] = {
    "als": Als(),
    "biased_als": BiasedAls(),
    "bpr": Bpr(),
    "ease": Ease(liked_only=True, regularization=300.0),
    "ease_played": Ease(liked_only=False, regularization=300.0),
    "item_knn": ItemKnn("tfidf"),
    "item_knn_bm25": ItemKnn("bm25"),
    "next_played": NextPlayed(),
    SEQUENCE: Sequence(),
}
SOURCES: Mapping[str, Source] = {
    "recent_12h": Recent(0.5),
    "recent_2d": Recent(2.0),
    "recent_7d": Recent(7.0),
    "fresh": Fresh(),
    "same_author": SameGroup("author"),
    "same_category": SameGroup("category"),
    "same_profile": SameProfile(),
    **PERSONAL,
}
# Costly sources: the rankers use them only if past nights rank better with them.
ON_TRIAL = (SEQUENCE,)


def source_of(name: str) -> Source:
    """The source of a name.

    Raises:
        InputError: if the package that should provide it does not.
    """
    if name in SOURCES:
        return SOURCES[name]
    found = load_own(OWN, name)
    # A class that meets the protocol of sources is used as it is; anything else makes a recommender.
    source: Source = found if hasattr(found, "over") else OwnSource(name, found)
    return source


def file_name(name: str) -> str:
    """The name of a source's fits; the user's own carry the version of the package that provides them."""
    return file_of_fit(name) if name in SOURCES else f"{name}@{version_of(OWN, name)}.npz"
