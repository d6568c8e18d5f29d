"""An explanation as lines for people."""

from collections.abc import Iterator, Sequence
from typing import Any

from scoring.explain.explanation import Explanation


def as_text(found: Explanation) -> Iterator[str | Sequence[dict[str, Any]]]:
    """Lines of text, and rows to be shown as a table between them."""
    yield f"user {found.user_id}, video {found.video_id}: {_verdict(found)}"
    yield f"run {found.run_id} as of {found.as_of.isoformat()}"
    yield f"model {found.model_version} ({found.objective})"
    if found.remark:
        yield f"but: {found.remark}"
    if found.candidate_sources:
        yield f"candidate sources: {', '.join(found.candidate_sources)}"
    if found.features:
        yield "what moves its scores most:"
        yield [
            {
                "model": one.model,
                "feature": one.feature,
                "value": one.value,
                "contribution": one.contribution,
            }
            for one in found.features
        ]
    if found.nearby:
        yield "nearest of what the user had played:"
        yield [
            {
                "video_id": one.video_id,
                "by": one.by,
                "nearness": one.nearness,
                "played_at": f"{one.played_at:%Y-%m-%d %H:%M}",
                "watch_ratio": one.watch_ratio,
                "liked": one.liked,
                "caption": one.caption,
            }
            for one in found.nearby
        ]


def _verdict(found: Explanation) -> str:
    if found.reason is not None:
        return f"not in the list. {found.reason.text}"
    by = f", put there by {found.rule}" if found.rule else ""
    return f"rank {found.rank}, score {found.score:.4f}, {found.source}{by}"
