"""The owner's rules, from the command to the table: in force, named on rows, audited."""

import pickle
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from nightreel.core.errors import AuditError, InputError
from nightreel.core.ids import INTEGERS
from nightreel.core.settings import Settings
from scoring.database.audit_part import Audited, parts_of
from scoring.database.connection import reading, sql_engine
from scoring.database.list_rules import add_rule, list_rules, remove_rule
from scoring.database.new_run import NewRun, Published
from scoring.database.rule_audits import rules_kept
from scoring.database.runs import publish
from scoring.database.schema import upgrade
from scoring.database.tables import recommendation, recommendation_run
from scoring.database.writer import exclusive_lock
from scoring.lists.candidates import Candidates, Cap
from scoring.lists.rows import HYBRID, RULE, Lists
from scoring.lists.rules.exploration import Exploration
from scoring.lists.rules.likeness import TextAndCategory
from scoring.lists.rules.owner import NightRule, NightRules, OwnerRule, in_force
from scoring.lists.rules.stage import ListRules
from scoring.lists.seen_bits import SeenBits
from tests.conftest import Nightreel

pytestmark = pytest.mark.current_schema

NIGHT = datetime(2020, 8, 15, 2, tzinfo=UTC)
USERS, VIDEOS, K = 6, 20, 8
_TEXTS = ("source", "candidate_sources", "rule", "arm")
EVERY = np.ones(VIDEOS, dtype=bool)


def _videos(*chosen: int) -> np.ndarray:
    return np.isin(np.arange(VIDEOS), chosen)


def _candidates(*rules: NightRule, seen: tuple[tuple[int, int], ...] = ()) -> Candidates:
    bits = np.zeros((USERS, VIDEOS), dtype=bool)
    for user, video in seen:
        bits[user, video] = True
    return Candidates(
        np.arange(1, USERS + 1),
        np.ones(USERS, dtype=bool),
        np.arange(VIDEOS) + 100,
        SeenBits(np.packbits(bits, axis=1)),
        rules=NightRules(rules),
    )


def _ordered(candidates: Candidates, depth: int = 15) -> Lists:
    """What a model might say: each user's open videos from another one on, scores that fall."""
    parts = []
    for at, user in enumerate(candidates.user_id.tolist()):
        is_open = np.flatnonzero(candidates.open_videos(at).dense())
        videos = np.roll(is_open, -at)[:depth]
        rows = len(videos)
        score = np.linspace(2, -1, rows)
        parts.append(
            Lists(
                np.full(rows, user),
                np.arange(1, rows + 1, dtype=np.int32),
                candidates.video_id[videos],
                score,
                *[score] * 3,
                np.full(rows, HYBRID),
                np.full(rows, "ease"),
            )
        )
    return Lists.concatenate(parts)


def _lists(candidates: Candidates) -> Lists:
    rules = ListRules(candidates.rules, (), candidates.video_id, -np.arange(VIDEOS), K)
    return rules.lists(_ordered(candidates), candidates)


def _publish(settings: Settings, candidates: Candidates, lists: Lists) -> Published:
    with exclusive_lock(sql_engine(settings)) as connection:
        with connection.begin():
            upgrade(connection)
        run = NewRun(NIGHT, "m", "digest")
        return publish(connection, run, [lists], candidates, settings.changed({"lists.top_k": K}))


def test_what_each_rule_moved_stands_in_the_table_and_passes_the_audits(settings: Settings) -> None:
    rules = (
        NightRule("pin:1", "pin", _videos(19), number=2),
        NightRule("boost:2", "boost", _videos(9), strength=5.0),
        NightRule("demote:3", "demote", _videos(0), strength=50.0),
        NightRule("at_least:4", "at_least", _videos(16, 17, 18), number=2, users=np.array([1])),
        NightRule("at_most:5", "at_most", _videos(1, 2, 3), number=1),
    )
    candidates = _candidates(*rules, seen=((1, 19),))
    written = _publish(settings, candidates, _lists(candidates))
    assert written.rows == USERS * K
    # User 2 has seen the pinned video.
    assert written.remarks == (f"rule pin:1: could not be kept in 1 of {USERS} lists",)
    with reading(settings) as connection:
        of_first = connection.execute(
            select(recommendation).where(recommendation.c.user_id == 1).order_by(recommendation.c.rank)
        ).all()
        run = connection.execute(select(recommendation_run)).one()
        pinned = connection.execute(
            select(recommendation.c.user_id, recommendation.c.rank).where(recommendation.c.video_id == 119)
        ).all()
    assert run.remarks == "\n".join(written.remarks)
    # 0 is demoted, 1 is the one of 1 to 3, 9 comes from the tenth position to the second, 16 and 17 are due.
    assert [(row.video_id - 100, row.rule) for row in of_first] == [
        (1, None),
        (19, "pin:1"),
        (9, "boost:2"),
        (4, None),
        (5, None),
        (6, None),
        (16, "at_least:4"),
        (17, "at_least:4"),
    ]
    assert [row.source for row in of_first] == [*[HYBRID] * 1, RULE, *[HYBRID] * 4, RULE, RULE]
    assert sorted(pinned) == [(user, 2) for user in (1, 3, 4, 5, 6)]


def test_users_in_parts_on_other_machines_get_the_same_lists() -> None:
    """What travels to a cluster's actors makes of a few users what all at once get, draws included."""
    rules = (
        NightRule("pin:1", "pin", _videos(19), number=2),
        NightRule("boost:2", "boost", _videos(9), strength=5.0, users=np.array([2, 4])),
        NightRule("at_most:3", "at_most", _videos(1, 2, 3), number=1),
    )
    candidates = _candidates(*rules, seen=((1, 19),))
    drawing = Exploration(0.5, 2, 4, 1.0, "night")
    likeness = TextAndCategory(0.2, np.zeros((VIDEOS, 0), np.float32), np.arange(VIDEOS) % 3)
    whole = ListRules(
        candidates.rules, (), candidates.video_id, -np.arange(VIDEOS), K, likeness, exploration=drawing
    )
    ordered = _ordered(candidates)
    at_once = whole.lists(ordered, candidates)
    sent = pickle.loads(pickle.dumps(whole))
    parts = []
    for users in (np.array([0]), np.array([1, 2, 3, 4]), np.array([5])):
        own = candidates.of_users(users)
        parts.append(sent.lists(ordered.rows(np.isin(ordered.user_id, own.user_id)), own))
    together = Lists.concatenate(parts)
    for name, values in vars(at_once).items():
        assert np.array_equal(values, getattr(together, name), equal_nan=name not in _TEXTS), name
    assert (at_once.propensity < 1).any() and (at_once.rule == "explore").any()


@pytest.mark.parametrize(
    ("sql", "audit"),
    [
        ({"rule": "pin:9"}, "rules"),
        ({"rule": None, "score": 99.0}, "scores ordered by rank"),
        ({"propensity": 1.5}, "propensities"),
    ],
)
def test_rows_that_no_rule_can_have_are_not_published(
    settings: Settings, sql: dict[str, object], audit: str
) -> None:
    candidates = _candidates(NightRule("pin:1", "pin", _videos(19), number=2))
    lists = _lists(candidates)
    wrong = np.flatnonzero((lists.user_id == 3) & (lists.rank == 2))
    for name, value in sql.items():
        column = getattr(lists, name).astype(object)
        column[wrong] = "" if value is None else value
        kind = np.str_ if name == "rule" else np.float64
        object.__setattr__(lists, name, column.astype(kind))
    with pytest.raises(AuditError, match=f"audit `{audit}`"):
        _publish(settings, candidates, lists)


def test_a_list_without_a_pin_that_it_could_have_is_not_published(settings: Settings) -> None:
    candidates = _candidates(NightRule("pin:1", "pin", _videos(19), number=2))
    without = _candidates()
    with pytest.raises(AuditError, match="audit `pins`: pin:1 is missing in the list of user 1"):
        _publish(settings, candidates, _lists(without))
    quota = _candidates(NightRule("at_most:1", "at_most", _videos(4, 5, 6), number=1))
    with pytest.raises(AuditError, match="audit `quotas`"):
        _publish(settings, quota, _lists(without))


def test_a_rule_that_can_do_nothing_is_named() -> None:
    def rule(number: int, item: str, **others: object) -> OwnerRule:
        return OwnerRule(number, "pin", "video", item, number=3, **others)  # type: ignore[arg-type]

    rules = [
        rule(1, "7"),
        rule(2, "8"),
        rule(3, "7", segment=("sex", "f")),
        rule(4, "7", segment=("age", "9")),
        rule(5, "7", valid_until=NIGHT),
        rule(6, "7", valid_from=NIGHT, valid_until=NIGHT + timedelta(days=1)),
    ]
    found = in_force(
        rules,
        NIGHT,
        top_k=2,
        items={"video": {"7": _videos(7)}, "author": {}, "category": {}},
        users_of={("sex", "f"): None, ("age", "9"): np.zeros(0, dtype=np.int64)},
    )
    assert [one.name for one in found.rules] == ["pin:1", "pin:6"]
    assert found.remarks == (
        "rule pin:1: asks for 3, and a list has 2 rows ([lists] top_k)",
        "rule pin:2: no video '8' among the videos to be listed",
        "rule pin:3: the users' table has no column 'sex'",
        "rule pin:4: no user has age = '9'",
        "rule pin:6: asks for 3, and a list has 2 rows ([lists] top_k)",
    )


def test_rules_are_added_listed_and_removed(settings: Settings) -> None:
    first = add_rule(settings, OwnerRule(0, "pin", "video", "14", number=1), "launch")
    second = add_rule(
        settings,
        OwnerRule(0, "boost", "author", "3", strength=2.0, valid_from=NIGHT, segment=("degree", "full")),
    )
    rows = list_rules(settings, NIGHT - timedelta(hours=1))
    assert [(row["rule"], row["in_force"]) for row in rows] == [(first, True), (second, False)]
    assert rows[1]["segment"] == "degree=full" and rows[0]["reason"] == "launch"
    remove_rule(settings, first)
    assert [row["rule"] for row in list_rules(settings)] == [second]
    with pytest.raises(InputError, match="Rule 1: there is no such rule"):
        remove_rule(settings, first)


@pytest.mark.parametrize(
    "rule",
    [
        OwnerRule(0, "pin", "author", "3", number=1),
        OwnerRule(0, "pin", "video", "x", number=1),
        OwnerRule(0, "pin", "video", "3"),
        OwnerRule(0, "boost", "author", "3", strength=1.0),
        OwnerRule(0, "boost", "author", "3", strength=float("nan")),
        OwnerRule(0, "at_least", "author", "3", number=0),
        OwnerRule(0, "at_most", "category", " ", number=0),
        OwnerRule(0, "lift", "video", "3", number=1),
        OwnerRule(0, "pin", "video", "3", number=1, valid_from=NIGHT, valid_until=NIGHT),
    ],
)
def test_what_is_no_rule_is_refused_in_words(settings: Settings, rule: OwnerRule) -> None:
    with pytest.raises(InputError):
        add_rule(settings, rule)


def test_the_commands_say_what_a_rule_lacks(tmp_path: Path, nightreel: Nightreel) -> None:
    done = nightreel("rules", "add", "pin", "--video", "7", "--rank", "3", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pin" in nightreel("rules", "list", home=tmp_path).stdout
    wrong = nightreel("rules", "add", "pin", "--rank", "3", home=tmp_path)
    assert wrong.returncode == 2 and "--video, --author or --category" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1


def test_a_list_that_a_quota_leaves_too_short_is_whole_all_the_same(settings: Settings) -> None:
    none = NightRule("at_most:1", "at_most", EVERY, number=3)
    candidates = _candidates(none)
    lists = _lists(candidates)
    assert Counter(lists.user_id.tolist()) == dict.fromkeys(range(1, USERS + 1), K)
    assert Counter(lists.rule.tolist()) == {"": 3 * USERS, "at_most:1": (K - 3) * USERS}
    assert _publish(settings, candidates, lists).remarks == (
        f"rule at_most:1: could not be kept in {USERS} of {USERS} lists",
    )
    with sql_engine(settings).begin() as connection:
        connection.execute(update(recommendation_run).values(remarks=None))


# A night's caps, rules and what is seen, at random: of five authors, some of them unknown.
_of_videos = st.lists(st.integers(0, VIDEOS - 1), min_size=1, max_size=VIDEOS)
_segments = st.sampled_from([None, np.array([1, 2]), np.array([6])])
_quotas = st.tuples(st.sampled_from(["at_least", "at_most"]), _of_videos, st.integers(0, K + 2), _segments)
_moves = st.tuples(st.sampled_from(["boost", "demote"]), _of_videos, st.just(0), _segments)
_pins = st.tuples(
    st.just("pin"), st.integers(0, VIDEOS - 1).map(lambda video: [video]), st.integers(1, 10), _segments
)
_authors = np.arange(VIDEOS) % 6 - 1


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(_pins, _quotas, _moves), min_size=1, max_size=7),
    st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, VIDEOS - 1)), max_size=80),
    st.sampled_from([None, 1, 2, 4]),
    st.integers(1, VIDEOS),
)
def test_whatever_rules_ask_lists_are_whole_and_each_rule_that_is_not_kept_is_counted(
    asked: list[tuple[str, list[int], int, np.ndarray | None]],
    seen: list[tuple[int, int]],
    cap: int | None,
    depth: int,
) -> None:
    rules = [
        NightRule(f"{kind}:{n}", kind, _videos(*videos), number, 3.0, users)
        for n, (kind, videos, number, users) in enumerate(asked)
    ]
    caps = () if cap is None else (Cap("max_per_author", cap, _authors),)
    candidates = replace(_candidates(*rules, seen=tuple(seen)), caps=caps)
    made = ListRules(candidates.rules, caps, candidates.video_id, -np.arange(VIDEOS), K)
    lists = made.lists(_ordered(candidates, depth), candidates)
    unkept: Counter[str] = Counter()
    for at, user in enumerate(candidates.user_id.tolist()):
        own = lists.rows(lists.user_id == user)
        listed = own.video_id - 100
        is_open = np.flatnonzero(candidates.open_videos(at).dense())
        room = np.bincount(1 + _authors[is_open], minlength=6)
        room[1:] = np.minimum(room[1:], VIDEOS if cap is None else cap)
        assert len(listed) == len(set(listed)) == min(K, room.sum())
        assert own.rank.tolist() == [*range(1, len(listed) + 1)]
        assert set(listed) <= set(is_open)
        for rule in rules:
            if rule.users is None or user in rule.users:
                of_rule = int(rule.videos[listed].sum())
                pinned = listed[rule.number - 1 : rule.number] if rule.kind == "pin" else listed[:0]
                unkept[rule.name] += {
                    "pin": not rule.videos[pinned].any(),
                    "at_least": of_rule < rule.number,
                    "at_most": of_rule > rule.number,
                }.get(rule.kind, False)
    found: Counter[str] = Counter()
    for part in parts_of(lists, [Audited("", candidates)], K, INTEGERS):
        found += rules_kept(part, K)
    assert found == +unkept


def test_why_a_list_is_short_is_said_with_the_run(settings: Settings) -> None:
    left = {1: 5, 2: 2}
    seen = tuple((user - 1, video) for user, n in left.items() for video in range(VIDEOS - n))
    candidates = replace(_candidates(seen=seen), caps=(Cap("max_per_author", 2, np.arange(VIDEOS) % 3),))
    rules = ListRules(candidates.rules, candidates.caps, candidates.video_id, -np.arange(VIDEOS), K)
    lists = rules.lists(_ordered(candidates), candidates)
    assert _publish(settings, candidates, lists).remarks == (
        "2 of 6 lists are shorter than 8 rows ([lists] top_k): "
        "their users have fewer videos left to be listed",
        "4 of 6 lists are shorter than 8 rows ([lists] top_k): [lists.max_per] leaves no room for more",
    )
