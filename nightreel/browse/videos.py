"""Details shown beside a video's id on every page: caption, categories, and a picture if there is one."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from nightreel.core import columns
from nightreel.core.settings import BrowseSettings, Paths
from scoring.database.show import descriptions


def describe(paths: Paths, settings: BrowseSettings, rows: Iterable[dict[str, Any]]) -> None:
    """Add caption, category and picture to rows with a video_id."""
    shown = list(rows)
    videos = sorted({row[columns.VIDEO_ID] for row in shown})
    described = descriptions(paths, videos) if videos else {}
    for row in shown:
        known: Mapping[str, object] = described.get(row[columns.VIDEO_ID]) or {}
        row["caption"] = known.get(columns.CAPTION) or ""
        row["category"] = " / ".join(str(known[name]) for name in columns.CATEGORY_NAMES if known.get(name))
        row["picture"] = picture_url(settings, row[columns.VIDEO_ID])


def picture_url(settings: BrowseSettings, video: object) -> str:
    """The URL of a video's picture; empty if none is set."""
    pattern = settings.thumbnail_url
    return "" if pattern is None else pattern.replace("{video_id}", quote(str(video), safe=""))


def picture_host(settings: BrowseSettings) -> str:
    """The one origin that pictures come from; empty if none is set."""
    if settings.thumbnail_url is None:
        return ""
    parts = urlsplit(settings.thumbnail_url)
    return f"{parts.scheme}://{parts.netloc}"
