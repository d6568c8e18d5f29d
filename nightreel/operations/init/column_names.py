"""Names that columns of logs go by, in lower case and without signs between their words."""

from collections.abc import Mapping

from nightreel.core.log_layout import ItemRole


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _with_ids(words: str, *more: str) -> frozenset[str]:
    """The words, each with `id` behind it too, and more names."""
    found = words.split()
    return frozenset([*found, *(f"{word}id" for word in found), *more])


ROLES_OF_PLAYS: Mapping[str, frozenset[str]] = {
    "user": _with_ids(
        "user customer member visitor viewer listener reader reviewer client", "uid", "accountid", "profileid"
    ),
    "item": _with_ids(
        "item video movie product article track song artist news content book clip film game episode post",
        *("iid", "asin", "parentasin", "sku"),
    ),
    "time": _names(
        "time timestamp ts datetime date eventtime eventtimestamp timems createdat unixtime playedat "
        "unixreviewtime"
    ),
    "play_time": _names("playtime playduration playtimems playseconds watchtime dwelltime msplayed"),
    "length": _names("length duration videoduration durationms itemlength videolength"),
    "watch_ratio": _names("watchratio completion completionrate playratio"),
    "rating": _names("rating ratings stars score overall"),
    "weight": _names("weight count playcount listens listencount"),
    "event": _names("event eventtype action behavior behaviour interaction interactiontype"),
}
ROLES_OF_ITEMS: Mapping[ItemRole, frozenset[str]] = {
    "category": _names("category genre maincategory section topic department"),
    "author": _with_ids("author artist", "creator", "uploader", "channel", "brand"),
    "upload_date": _names(
        "uploaddate uploaddt releasedate released published publishdate publishedat pubdate"
    ),
    "tags": _names("tags keywords genres topictag"),
    "music": _with_ids("music sound"),
}
