"""The titles of systems and metrics, and the glossary that explains them at the end of the page."""

import re
from collections.abc import Mapping

_SYSTEMS = {
    "hybrid": "Hybrid (published)",
    "popularity_1_day": "Yesterday's popularity",
    "popularity_3_days": "Popularity, 3 days",
    "popularity_7_days": "Popularity, 7 days",
    "popularity_half_life": "Popularity, fading",
    "popularity_by_engagement": "Popularity",
    "popularity_by_views": "Popularity by views",
    "als": "ALS alone",
    "source_als": "Source als",
    "truth": "Truth",
}

# Term: what it means. A heading of a table leads here.
GLOSSARY: Mapping[str, str] = {
    "system": "Something that makes lists: the published hybrid, popularity, one source or one model.",
    "hybrid": "What nightreel publishes: candidates from several sources, put in order by a classifier and "
    "a regressor.",
    "popularity": "One list for everyone. Yesterday's: the videos most liked on the day before. By "
    "engagement: the share of plays that were liked, shrunk towards the mean if there are few.",
    "source": "A candidate source by itself, with its own order as the list: recent likes, "
    "ALS, EASE, item kNN.",
    "ALS": "Alternating least squares: a user and a video have 64 numbers each, whose product is the score.",
    "blend": "A weighted sum of all scores; the weights are chosen on users who are not reported here.",
    "truth": "On synthetic data: the order that generated the data. No system can be better.",
    "random": "Videos in random order.",
    "liked": "A play that counts as a success. By label ratio: watched for longer than like_threshold times "
    "the video's length, or for long_view_s seconds. By label duration: watched for longer than most plays "
    "of videos of similar length.",
    "interval": "In brackets: 95 % of 1,000 resamples of the users lie between these two. A difference is "
    "more than chance if its interval excludes 0.",
    "share found": "Of all liked plays of a day, the share whose video is in the first K of its user's "
    "list (micro_recall in the files).",
    "recall": "The same share for each user, averaged over users.",
    "precision": "Of the first K of a list, the share that is liked.",
    "hit rate": "The share of users with at least one liked video in the first K.",
    "NDCG": "How near the top the liked videos are: 1 if all of them come first. Graded: by how much "
    "they were watched.",
    "MAP": "Mean average precision: precision at each liked video of the list, averaged.",
    "MRR": "One over the position of the first liked video.",
    "AUC": "How often a liked video is scored above one that is not; gauc: within each user.",
    "inverse exposure": "Each liked video counts by the inverse of how many users played it that day, so "
    "that lists are not rewarded for what everybody is shown anyway.",
    "coverage": "The share of the catalogue that is in any list.",
    "Gini": "How unequally videos are listed: 0 if all are listed equally often, near 1 if only a few are.",
    "novelty": "How few users had watched a listed video: the mean of -log2 of their share.",
    "slice": "A part of the users or videos that has its own figures.",
    "calibration": "Whether videos given a probability of 0.7 are liked in 70 % of cases; brier and "
    "expected_calibration_error are 0 at best.",
    "mae, rmse": "By how much the regressor's prediction of watch_ratio is off, absolute and squared.",
    "share of gain": "How much of what a model's trees gained came from splits on this feature.",
}

_TERMS = (
    (r"^system", "system"),
    (r"^(micro_recall|share found)", "share found"),
    (r"_ips", "inverse exposure"),
    (r"^recall", "recall"),
    (r"^precision", "precision"),
    (r"^hit.?rate", "hit rate"),
    (r"^ndcg", "NDCG"),
    (r"^map", "MAP"),
    (r"^mrr", "MRR"),
    (r"(^|g)auc", "AUC"),
    (r"^coverage", "coverage"),
    (r"^gini", "Gini"),
    (r"^novelty", "novelty"),
    (r"^slice", "slice"),
    (r"^(brier|expected_calibration)", "calibration"),
    (r"^(mae|rmse)", "mae, rmse"),
    (r"^95 %", "interval"),
    (r"^liked", "liked"),
)


def system_title(system: str) -> str:
    """A system's title on the page."""
    if system in _SYSTEMS:
        return _SYSTEMS[system]
    words = system.replace("_", " ")
    return words[0].upper() + words[1:]


def anchor(term: str) -> str:
    """The id of a term of the glossary."""
    return "term-" + re.sub(r"[^a-z]+", "-", term.lower())


def term_of(heading: str) -> str | None:
    """The term of the glossary that explains a table's heading."""
    return next((term for pattern, term in _TERMS if re.search(pattern, heading, re.IGNORECASE)), None)
