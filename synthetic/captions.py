"""kuairec_caption_category.csv and item_categories.csv: text that depends on a video's taste position."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nightreel.core import columns
from synthetic import draws, exact
from synthetic.latent import DIMENSIONS
from synthetic.sizes import KUAIREC_VIDEOS, Sizes
from synthetic.videos import CATEGORIES, CATEGORY_NAMES, MISSING, Videos
from synthetic.words import (
    CATEGORY_WORDS,
    COMMON_WORDS,
    HASHTAGS,
    SECOND_LEVEL_ENDINGS,
    THIRD_LEVEL_ENDINGS,
)

UNKNOWN = "UNKNOWN"
_CAPTION_MISSING = 1 - 9_377 / KUAIREC_VIDEOS
_COVER_MISSING = 6_694 / KUAIREC_VIDEOS
_WITHOUT_TAGS = 0.43
# Rare in the real file (23 commas, 4 bare carriage returns); more often here so that small sets have them.
_QUIRK_SHARE = 0.0015
_LATIN_QUIRKS = ('他说"{}"', "{},真的吗", "{}\n下集更精彩", "{}\r~", '"{}"')


def write_captions(path: Path, sizes: Sizes, videos: Videos) -> None:
    """Write kuairec_caption_category.csv, its traps included."""
    random = sizes.stream("captions")
    writer_words = _word_chances(random, videos)
    lines = [
        ",".join(
            [
                columns.VIDEO_ID,
                columns.MANUAL_COVER_TEXT,
                columns.CAPTION,
                columns.TOPIC_TAGS,
                *(
                    name
                    for pair in zip(columns.CATEGORY_LEVELS, columns.CATEGORY_NAMES, strict=True)
                    for name in pair
                ),
            ]
        )
    ]
    quirk = 0
    for video in range(sizes.videos):
        words = writer_words(video)
        caption, tags = _caption(random, words)
        if caption and (quirk < len(_LATIN_QUIRKS) or random.random() < _QUIRK_SHARE):
            caption = _LATIN_QUIRKS[quirk % len(_LATIN_QUIRKS)].format(caption)
            quirk += 1
        cover = UNKNOWN if random.random() < _COVER_MISSING else "".join(words[:2])
        lines.append(
            ",".join(
                [str(video), cover, _quoted(caption), _quoted(f"[{','.join(tags)}]"), *_levels(videos, video)]
            )
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


def write_item_categories(path: Path, videos: Videos) -> None:
    """Write item_categories.csv: `[27, 9]`, one to four tags a video."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([columns.VIDEO_ID, columns.CATEGORY_TAGS])
    writer.writerows((video, str(tags)) for video, tags in enumerate(videos.tags))
    path.write_text(text.getvalue(), encoding="utf-8", newline="")


def _quoted(text: str) -> str:
    # As in the real file, a bare carriage return alone does not cause quoting.
    if any(character in text for character in '",\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _levels(videos: Videos, video: int) -> list[str]:
    first, second, third = (
        int(level[video]) for level in (videos.first_level, videos.second_level, videos.third_level)
    )
    result = []
    for number, offset, name in (
        (first, 1, "" if first == MISSING else CATEGORY_NAMES[first]),
        (second, 101, "" if second == MISSING else second_level_name(second)),
        (third, 1001, "" if third == MISSING else third_level_name(third)),
    ):
        result += [str(MISSING), UNKNOWN] if number == MISSING else [str(number + offset), name]
    return result


def second_level_name(number: int) -> str:
    """The name of a second-level category."""
    return (
        CATEGORY_NAMES[number // len(SECOND_LEVEL_ENDINGS)]
        + SECOND_LEVEL_ENDINGS[number % len(SECOND_LEVEL_ENDINGS)]
    )


def third_level_name(number: int) -> str:
    """The name of a third-level category."""
    return (
        CATEGORY_NAMES[number // len(THIRD_LEVEL_ENDINGS)]
        + THIRD_LEVEL_ENDINGS[number % len(THIRD_LEVEL_ENDINGS)]
    )


def _word_chances(random: np.random.Generator, videos: Videos) -> Callable[[int], list[str]]:
    """A function that draws words for a video; words have positions near their category's, too."""
    word_lists = [CATEGORY_WORDS[name].split() for name in CATEGORY_NAMES]
    position = videos.truth.position
    indices = []
    for category in range(CATEGORIES):
        members = position[videos.truth.category == category]
        centre = exact.total(members, axis=0) / len(members) if len(members) else np.zeros(DIMENSIONS)
        indices.append(centre + draws.normal(random, 0.8, (len(word_lists[category]), DIMENSIONS)))

    def words_of(video: int) -> list[str]:
        category = int(videos.truth.category[video])
        away = indices[category] - position[video]
        chance = exact.exp(exact.total(away * away, axis=1) / -1.5)
        chance = chance / exact.total(chance) + 0.01
        number = min(int(random.integers(3, 9)), len(chance))
        picked = random.choice(len(chance), size=number, replace=False, p=chance / exact.total(chance))
        return [word_lists[category][i] for i in picked]

    return words_of


def _caption(random: np.random.Generator, words: list[str]) -> tuple[str, list[str]]:
    """A caption and its topic tags; empty where the video has none."""
    if random.random() < _CAPTION_MISSING:
        return "", []
    tags = []
    if random.random() > _WITHOUT_TAGS:
        tags = (
            words[: int(random.integers(1, 3))]
            + random.choice(HASHTAGS, size=int(random.integers(0, 4)), replace=False).tolist()
        )
    text = "，".join(
        "".join([word, str(random.choice(COMMON_WORDS))]) if random.random() < 0.5 else word for word in words
    )
    return " ".join([text, *(f"#{tag}" for tag in tags)]), tags
