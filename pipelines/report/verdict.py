"""The verdict: three sentences and four numbers, in the same words and sizes whether it is good or bad."""

from dataclasses import dataclass

from pipelines.evaluate.next_day import NEXT_DAY
from pipelines.evaluate.protocols import KUAIREC
from pipelines.report.headline import Headline, Rival
from pipelines.report.history import FIGURES, Record, falls
from pipelines.report.names import system_title
from pipelines.report.numerals import between, count, number, signed, with_interval

_WORDS = {1: "better than", -1: "worse than", 0: "not distinguishable from"}


@dataclass(frozen=True)
class Tile:
    """One of the four numbers: its text, interval, meaning, and term in the glossary."""

    value: str
    interval: str
    meaning: str
    term: str


@dataclass(frozen=True)
class Verdict:
    """The message that a reader should get in ten seconds."""

    is_better: str
    since_last: str
    advice: str
    tiles: tuple[Tile, ...]


def verdict(found: Headline | None, now: Record, last: Record | None) -> Verdict:
    """Word the verdict; `last` is the report before, if there was one."""
    return Verdict(_is_better(found), _since(now, last), _advice(found), _tiles(found))


def _is_better(found: Headline | None) -> str:
    if found is None:
        return (
            "Whether the published lists are better than popularity is not known: no list of a past day was "
            "judged, and nothing was held out to rank."
        )
    if found.protocol != NEXT_DAY:
        ranked = "fully observed pairs" if found.protocol == KUAIREC else "what users were shown"
        return (
            "Whether the published lists are better than yesterday's popularity is not known, as no list of "
            f"a past day was judged; in ranking {ranked}, the hybrid is {_against(found)}, by NDCG@{found.k} "
            f"({_extent(found)})."
        )
    of_days = (
        f"The published lists are {_against(found)}: of the plays that users liked on the day after, a share "
        f"of {number(found.published.value)} is in the first {found.k} of a list ({_extent(found)})."
    )
    if found.observed is None:
        return of_days
    observed = found.observed
    return (
        f"In ranking fully observed pairs, the hybrid is {_against(observed)}, by NDCG@{observed.k} "
        f"({_extent(observed)}). As a forecast of the next day's plays, which follow what the app shows: "
        f"{of_days[0].lower()}{of_days[1:]}"
    )


def _extent(found: Headline) -> str:
    days = f", {count(len(found.days))} {'day' if len(found.days) == 1 else 'days'}" if found.days else ""
    return f"{count(found.users)} {'user' if found.users == 1 else 'users'}{days}"


def _against(found: Headline) -> str:
    """Better or worse than each rival, by how much, in words that do not depend on the outcome."""
    rivals = [
        (found.popularity, "yesterday's popularity" if found.protocol == NEXT_DAY else "popularity"),
        (found.source, _source_words(found)),
    ]
    known = [(rival, words) for rival, words in rivals if rival is not None]
    if not known:
        return "not compared with anything"
    parts = [f"{_WORDS[rival.outcome]} {words} ({_lead(rival)})" for rival, words in known]
    outcomes = [rival.outcome for rival, _ in known]
    joint = " and " if len(set(outcomes)) == 1 else ", but "
    return joint.join(parts)


def _source_words(found: Headline) -> str:
    if found.source is None:
        return ""
    return f"the best single source, {_source_title(found.source)}"


def _source_title(source: Rival) -> str:
    return system_title(source.system).removeprefix("Source ").removesuffix(" alone")


def _lead(rival: Rival) -> str:
    return with_interval(rival.lead.value, rival.lead.low, rival.lead.high, sign=True)


def _since(now: Record, last: Record | None) -> str:
    if last is None:
        return "This is the first report of this home, so nothing can have got worse since the last."
    if dict(last.asked) != dict(now.asked):
        return (
            f"The last report (up to {last.until}) measured something else, by its label, threshold or "
            "share of users, so the two are not compared."
        )
    if not last.figures.keys() & now.figures.keys():
        return (
            f"The last report (up to {last.until}) has no figure that this one has, so they are not compared."
        )
    fallen = falls(last, now)
    beyond = [fall for fall in fallen if fall.is_beyond_chance]
    if beyond:
        parts = [f"{FIGURES[fall.name]} ({number(fall.before)} to {number(fall.now)})" for fall in beyond]
        return f"Since the last report (up to {last.until}) worse by more than chance: {', '.join(parts)}."
    if fallen:
        most = fallen[0]
        return (
            f"Since the last report (up to {last.until}) nothing got worse by more than chance; what fell "
            f"most is {FIGURES[most.name]} ({number(most.before)} to {number(most.now)})."
        )
    return f"Since the last report (up to {last.until}) nothing got worse."


def _advice(found: Headline | None) -> str:
    """What to do, the most urgent first."""
    if found is None or found.protocol != NEXT_DAY:
        return (
            "What to do: have lists of past days judged (backtest_days of at least 1, plays on the days of "
            "the holdout, then `nightreel train`, `nightreel evaluate`, `nightreel report`)."
        )
    outcomes = [rival.outcome for rival in (found.popularity, found.source) if rival is not None]
    if found.objective is not None:
        name = found.objective.system.removeprefix("hybrid_")
        if found.observed is not None and name == "next_day":
            return (
                "What to do: decide what the lists are for. Their order was chosen on the fully observed "
                "pairs, which say what users like if it is shown; to predict what they play next out of what "
                f'the app shows, set objective = "{name}" and run `nightreel train --force`: its rankers '
                f"find {number(found.objective.value)} of it, these {number(found.published.value)}."
            )
        return (
            f'What to do: set objective = "{name}" and run `nightreel train --force`, as its rankers find '
            f"{number(found.objective.value)} where the published lists find {number(found.published.value)}."
        )
    if -1 in outcomes:
        return (
            "What to do: run `nightreel tune --write`, `nightreel train` and this report again; until it "
            f"says otherwise, {_best_rival(found)} would serve users better than these lists."
        )
    if 0 in outcomes:
        return (
            "What to do: keep publishing, and judge more days (backtest_days, holdout_days) before you "
            "count on a gain, as this one may be chance."
        )
    return "What to do: nothing; keep publishing, and read the next report."


def _best_rival(found: Headline) -> str:
    """What beats the published lists, the better one of two."""
    beating = [rival for rival in (found.popularity, found.source) if rival is not None and rival.outcome < 0]
    best = max(beating, key=lambda rival: rival.value)
    return "yesterday's popularity" if best is found.popularity else f"{_source_title(best)} alone"


def _tiles(found: Headline | None) -> tuple[Tile, ...]:
    if found is None:
        return (
            Tile("–", "", "published lists: not measured", "hybrid"),
            _lead_tile(None, "lead over popularity", "popularity"),
            _lead_tile(None, "lead over the best single source", "source"),
            Tile("–", "", "users with a liked play: not measured", "liked"),
        )
    of_days = found.protocol == NEXT_DAY
    metric = f"share of liked plays found in the first {found.k}" if of_days else f"NDCG@{found.k}"
    popularity = "yesterday's popularity" if of_days else "popularity"
    days = f" on {count(len(found.days))} {'day' if len(found.days) == 1 else 'days'}" if of_days else ""
    own = found.published
    term = "share found" if of_days else "NDCG"
    return (
        Tile(number(own.value), between(own.low, own.high), f"published lists: {metric}", term),
        _lead_tile(found.popularity, f"lead over {popularity}", "popularity"),
        _lead_tile(found.source, "lead over the best single source", "source"),
        Tile(count(found.users), "", f"users with a liked play{days}", "liked"),
    )


def _lead_tile(rival: Rival | None, meaning: str, term: str) -> Tile:
    if rival is None:
        return Tile("–", "", f"{meaning}: not measured", term)
    lead = rival.lead
    interval = between(lead.low, lead.high, sign=True)
    return Tile(signed(lead.value), interval, f"{meaning}, which has {number(rival.value)}", term)
