"""`[retrieval]`: where the videos come from that the rankers score for a user."""

from pydantic import Field, field_validator

from nightreel.core.own_models import SOURCES, own_names
from nightreel.core.settings.old_names import remember
from nightreel.core.settings.section import Section, listed

CANDIDATE_SOURCES = ("als", "als_approximate", "popular", "fresh", "content_based")
_OLD_NAME, _NEW_NAME = "alike", "content_based"
RETRIEVAL_SOURCES = (
    "recent_12h",
    "recent_2d",
    "recent_7d",
    "als",
    "biased_als",
    "bpr",
    "ease",
    "ease_played",
    "item_knn",
    "item_knn_bm25",
    "next_played",
    "fresh",
    "same_author",
    "same_category",
    "same_profile",
    "sequence",
)


class RetrievalSettings(Section):
    """The candidates of both objectives."""

    sources: str = Field(
        default="recent_12h,recent_2d,recent_7d,same_profile,als,ease,ease_played,item_knn,next_played",
        description="For objective `next_day`: the candidate sources, separated by commas.",
    )
    source_k: int = Field(
        default=100, description="For objective `next_day`: how many candidates each source names.", ge=1
    )
    candidates: str = Field(
        default="all",
        description="For objective `shown`: `all` videos, or a union of sources, such as "
        "`als,popular,fresh,content_based`, with four times as many videos as the classifier keeps; "
        "`als_approximate` is `als` searched by faiss (extra `nightreel[search]`), for very many videos.",
    )

    @field_validator("candidates")
    @classmethod
    def _known_sources(cls, value: str) -> str:
        names = listed(value)
        if _OLD_NAME in names:
            remember(f"`[retrieval] candidates`: the source `{_OLD_NAME}` is now `{_NEW_NAME}`")
            names = [_NEW_NAME if name == _OLD_NAME else name for name in names]
        known_names = (*CANDIDATE_SOURCES, *own_names(SOURCES))
        if names != ["all"] and (set(names) - set(known_names) or len(set(names)) != len(names)):
            known = ", ".join(known_names)
            raise ValueError(f"{value!r}: write `all`, or some of {known}, each once, separated by commas")
        return ",".join(names)

    @field_validator("sources")
    @classmethod
    def _known_fitted_sources(cls, value: str) -> str:
        names = listed(value)
        known = (*RETRIEVAL_SOURCES, *own_names(SOURCES))
        if set(names) - set(known) or len(set(names)) != len(names):
            raise ValueError(f"{value!r}: write some of {', '.join(known)}, each once, with commas")
        return ",".join(names)
