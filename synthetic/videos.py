"""Videos: category, author, length, when they appear, how often they are shown, and their hidden truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthetic import draws, exact
from synthetic.latent import DIMENSIONS, VideoTruth
from synthetic.sizes import KUAIREC_VIDEOS, Sizes
from synthetic.words import CATEGORY_WORDS, SECOND_LEVEL_ENDINGS, THIRD_LEVEL_ENDINGS

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

MISSING = -124
CATEGORY_NAMES = tuple(CATEGORY_WORDS)
CATEGORIES = len(CATEGORY_NAMES)
TAGS = 31
AUTHORS_A_VIDEO = 8_369 / KUAIREC_VIDEOS

# Quantiles of video length in seconds over KuaiRec's plays; between them the logarithm runs straight.
_LENGTH_SHARES = (0.0, 0.003, 0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.985, 0.998, 1.0)
_LENGTH_S = np.array([2.6, 3.2, 4.15, 5.8, 7.48, 9.61, 12.05, 18.5, 28.0, 56.0, 150.0, 315.072])

# Reach is Weibull-distributed: many videos are hardly shown, and none so much that it tops every list.
_EXPOSURE_POWER = 1.4


@dataclass(frozen=True)
class Videos:
    """Every array has a row per video; video_id is the row's number."""

    truth: VideoTruth
    length_ms: I64
    second_level: I64  # number of the second-level category, or MISSING
    third_level: I64
    first_level: I64  # the category, or MISSING where the files lack it
    tags: list[list[int]]
    appear_day: I64
    upload_day: I64  # at or before appear_day
    log_exposure: F32
    public_popularity: F32  # how widely it is known outside of the log, standard normal


def make_videos(sizes: Sizes) -> Videos:
    """Draw all videos."""
    random = sizes.stream("videos")
    count = sizes.videos
    popularity = 1 / (np.arange(CATEGORIES) + 3.0)
    category = random.choice(CATEGORIES, size=count, p=popularity / exact.total(popularity))
    authors = max(1, round(count * AUTHORS_A_VIDEO))
    author = _authors(random, count, authors)
    centre = draws.normal(random, 1, (CATEGORIES, DIMENSIONS))
    author_offset = draws.normal(random, 1, (authors, DIMENSIONS))
    position = (
        0.7 * centre[category] + 0.4 * author_offset[author] + draws.normal(random, 0.59, (count, DIMENSIONS))
    )
    quality = (
        draws.normal(random, 0.025, CATEGORIES)[category]
        + draws.normal(random, 0.035, authors)[author]
        + draws.normal(random, 0.045, count)
    )
    # One length from each of `count` equal shares: small sets too have KuaiRec's spread.
    index = (random.permutation(count) + random.random(count)) / count
    length_ms = np.rint(1000 * exact.exp(exact.interpolate(index, _LENGTH_SHARES, exact.log(_LENGTH_S))))
    second, third, first = _category_levels(random, category)
    appear, upload = _appearance(random, count, sizes.days)
    exposure = _EXPOSURE_POWER * exact.log(draws.exponential(random, count))
    known = exposure - exact.mean(exposure)
    known /= max(float(np.sqrt(exact.mean(known * known))), 1e-9)
    return Videos(
        truth=VideoTruth(
            position=position.astype(np.float32),
            category=category,
            author=author,
            quality=quality.astype(np.float32),
            placement=draws.normal(random, 0.10, count).astype(np.float32),
            looping=draws.normal(random, 0.28, count).astype(np.float32),
            log_length=exact.log(length_ms / 1000).astype(np.float32),
        ),
        length_ms=length_ms.astype(np.int64),
        first_level=first,
        second_level=second,
        third_level=third,
        tags=_tags(random, category),
        appear_day=appear,
        upload_day=upload,
        log_exposure=exposure.astype(np.float32),
        public_popularity=(0.6 * known + draws.normal(random, 0.8, count)).astype(np.float32),
    )


def _authors(random: np.random.Generator, videos: int, authors: int) -> I64:
    """Each author has one video; the rest are distributed by heavy-tailed weights of the authors."""
    zeal = draws.pareto(random, 1.1, authors) + 0.05
    rest = random.choice(authors, size=max(0, videos - authors), p=zeal / exact.total(zeal))
    return random.permutation(np.concatenate([np.arange(authors), rest])[:videos]).astype(np.int64)


def _category_levels(random: np.random.Generator, category: I64) -> tuple[I64, I64, I64]:
    """Numbers of the second and third level, and of the first; MISSING where they are unknown."""
    count = len(category)
    seconds, thirds = len(SECOND_LEVEL_ENDINGS), len(THIRD_LEVEL_ENDINGS)
    # 138 names on the second level and 220 on the third, as in KuaiRec: some categories have one name less.
    fewer_seconds, fewer_thirds = category >= 18, category >= 20
    second_place = random.choice(seconds, size=count, p=_falling(seconds)) % (seconds - fewer_seconds)
    third_place = random.choice(thirds, size=count, p=_falling(thirds)) % (thirds - fewer_thirds)
    second = category * seconds + second_place
    third = category * thirds + third_place
    second[(random.random(count) < 0.334)] = MISSING
    third[(random.random(count) < 0.455) | (second == MISSING)] = MISSING
    first = category.copy()
    first[(random.random(count) < 0.0125) & (second == MISSING)] = MISSING
    return second, third, first


def _falling(count: int) -> npt.NDArray[np.float64]:
    weights: npt.NDArray[np.float64] = 1 / (np.arange(count) + 1.0)
    chances: npt.NDArray[np.float64] = weights / exact.total(weights)
    return chances


def _tags(random: np.random.Generator, category: I64) -> list[list[int]]:
    """One to four of 31 tags a video; the first mostly follows from the category."""
    of_category = random.permutation(np.arange(CATEGORIES) % TAGS)
    number = 1 + random.choice(4, size=len(category), p=(0.8361, 0.1456, 0.0173, 0.001))
    first = np.where(
        random.random(len(category)) < 0.8, of_category[category], random.integers(TAGS, size=len(category))
    )
    others = random.integers(1, TAGS, size=(len(category), 3)).cumsum(axis=1)
    result = []
    for start, extra, target in zip(first.tolist(), others.tolist(), number.tolist(), strict=True):
        tags = dict.fromkeys([start, *((start + step) % TAGS for step in extra)])
        result.append(list(tags)[:target])
    return result


def _appearance(random: np.random.Generator, count: int, days: int) -> tuple[I64, I64]:
    """Day of a video's first play, spread over the whole period, and day of its upload."""
    appear = random.integers(0, days, count)
    appear[random.random(count) < 0.1] = 0
    wait = np.where(random.random(count) < 0.8, 0, draws.geometric(random, 0.15, count))
    wait = np.where((appear == 0) & (random.random(count) < 0.8), draws.geometric(random, 0.02, count), wait)
    return appear, appear - wait
