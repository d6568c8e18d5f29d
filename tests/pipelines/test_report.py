"""The report: whole in one file, with what it promises, and without an error in a real browser."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from pipelines.evaluate import evaluate
from pipelines.rankers import train
from pipelines.report import report
from pipelines.report.attempts import attempts_blocks
from pipelines.report.blocks import Charts, Fold, Paragraph, Table
from pipelines.report.numerals import with_interval
from pipelines.report.sequence_curve import curve_blocks
from pipelines.report.shared_lists import shared_blocks
from scoring.backtest import backtest
from tests.fixtures.accessible import (
    check_everywhere,
    check_keyboard,
    check_still,
    columns_of,
    cut_labels,
    overlapping,
    sideways,
)
from tests.fixtures.chromium import LAPTOP, PHONE, Browser, View, needs_chromium, started
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

MODELS = "ranker.lightgbm.num_iterations = 10\nranker.filter_k = 5\ndata.raw_dir = 'raw'\n"
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    log = make_log(7, users=30, videos=40, plays=3_000)
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path_factory.mktemp("report") / "home", log, patch, more_settings=MODELS
        )
        # The last plays are used as fully observed pairs: here only the page matters.
        log.interactions.tail(600).write_parquet(settings.paths.table("fully_observed"))
        train(settings)
        backtest(settings)
        evaluate(settings)
        (settings.paths.state / "timings.json").write_text(
            '{"train": {"seconds": 1.5, "process_peak_mb": 300}}'
        )
        yield settings, report(settings)


@pytest.fixture
def settings(home) -> Settings:  # type: ignore[no-untyped-def]
    found: Settings = home[0]
    return found


def _html(settings: Settings) -> str:
    return (settings.paths.data / "report" / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def html(settings: Settings) -> str:
    """The page as it was before other tests changed the figures."""
    lines = _history(settings).read_bytes()
    report(settings)
    _history(settings).write_bytes(lines)
    return _html(settings)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@contextmanager
def _changed(settings: Settings, change: Change | None = None) -> Iterator[str]:
    """The page of figures that differ; each record of metrics.json goes through `change`, or is left out."""
    metrics, history = settings.paths.evaluation / "metrics.json", _history(settings)
    before, lines = metrics.read_bytes(), history.read_bytes()
    records = json.loads(before)
    if change is None:
        records = [record for record in records if record["protocol"] != "next_day"]
    else:
        for record in records:
            change(record)
    try:
        metrics.write_text(json.dumps(records), encoding="utf-8")
        report(settings)
        yield _html(settings)
    finally:
        metrics.write_bytes(before)
        history.write_bytes(lines)


def _history(settings: Settings) -> Path:
    return settings.paths.data / "report" / "history.jsonl"


def _leads(popularity: float, source: float) -> Change:
    """The published lists .3, with a lead over yesterday's popularity and over the best source, as given."""

    def change(record: dict[str, Any]) -> None:
        metric = record["metric"]
        if record["protocol"] != "next_day" or record["slice"] != "all" or "micro_recall" not in metric:
            return
        lead = popularity if record["system"] == "popularity_1_day" else source
        if record["system"] in ("hybrid", "hybrid_shown", "hybrid_next_day"):
            lead = 0.0
        value = -lead if metric.endswith("_minus_hybrid") else 0.3 - lead
        record |= {"value": value, "low": value - 0.01, "high": value + 0.01}

    return change


def _answers(html: str) -> list[str]:
    return [
        unescape(re.sub(r"<[^>]+>", "", text))
        for text in re.findall(r'<p class="answer">(.*?)</p>', html, flags=re.DOTALL)
    ]


def _tiles(html: str) -> list[str]:
    return re.findall(r"<dd>([^<]*?)\s*<", html[: html.index('id="glossary"')])


def _table(html: str, start: int = 0) -> list[list[str]]:
    text = html[html.index("<table", start) : html.index("</table>", start)]
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", text, flags=re.DOTALL)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line, flags=re.DOTALL) for line in lines]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in line] for line in cells]


def test_the_verdict_is_three_sentences_and_four_numbers_before_all_else(html: str) -> None:
    assert html.index('id="verdict"') < html.index('id="next_day"') < html.index('id="kuairec"')
    first, second, third = _answers(html)
    assert first.startswith("In ranking fully observed pairs, the hybrid is ")
    assert "the published lists are " in first and "yesterday's popularity" in first
    assert "best single source" in first and re.search(r"\(\d+ users, \d days?\)", first)
    assert second.startswith("This is the first report") and third.startswith("What to do: ")
    published, popularity, source, users = _tiles(html)
    assert re.fullmatch(r"0\.\d{4}", published) and int(users) > 0
    assert all(re.fullmatch(r"[+−]0\.\d{4}", lead) for lead in (popularity, source))


@pytest.mark.parametrize(
    ("leads", "words", "advice"),
    [
        (
            (0.1, 0.05),
            "better than yesterday's popularity (+0.1000 [+0.0900, +0.1100]) and better",
            "nothing",
        ),
        (
            (-0.1, -0.05),
            "worse than yesterday's popularity (−0.1000 [−0.1100, −0.0900]) and worse",
            "tune",
        ),
        (
            (0.1, -0.05),
            "better than yesterday's popularity (+0.1000 [+0.0900, +0.1100]), but worse",
            "tune",
        ),
        ((0.005, 0.1), "not distinguishable from yesterday's popularity", "backtest_days"),
    ],
)
def test_the_verdict_follows_the_figures(
    settings: Settings, leads: tuple[float, float], words: str, advice: str
) -> None:
    """A loss is said in the same place, words and class as a gain; what to do follows from it."""
    with _changed(settings, _leads(*leads)) as html:
        first, _, third = _answers(html)
        assert words in first
        assert advice in third
        assert "0.3000" in _tiles(html)[0]


def test_better_rankers_of_the_other_objective_are_what_to_do(settings: Settings) -> None:
    def change(record: dict[str, Any]) -> None:
        _leads(-0.1, -0.1)(record)
        if record["system"] == "hybrid_shown" and record["metric"] == "micro_recall_minus_hybrid":
            record |= {"value": 0.2, "low": 0.1, "high": 0.3}

    with _changed(settings, change) as html:
        assert "set objective = &#34;shown&#34; and run <code>nightreel train --force</code>" in html


def test_lists_for_what_is_liked_if_shown_are_not_blamed_for_what_the_app_shows(settings: Settings) -> None:
    def change(record: dict[str, Any]) -> None:
        if record["system"] == "hybrid_shown":
            record["system"] = "hybrid_next_day"
            if record["metric"] == "micro_recall_minus_hybrid":
                record |= {"value": 0.2, "low": 0.1, "high": 0.3}

    with _changed(settings, change) as html:
        advice = _answers(html)[2]
        assert "decide what the lists are for" in advice
        assert "chosen on the fully observed pairs" in advice and "next_day" in advice


def test_without_lists_of_past_days_it_says_what_is_not_known(settings: Settings) -> None:
    with _changed(settings) as html:
        first, _, third = _answers(html)
        assert "is not known, as no list of a past day was judged" in first and "NDCG@10" in first
        assert "backtest_days" in third
        assert len(_tiles(html)) == 4 and 'id="next_day"' not in html


def test_what_got_worse_since_the_last_report_is_named(settings: Settings) -> None:
    """By more than chance, or not; a report made again of the same figures counts once."""
    with _changed(settings, _leads(0.1, 0.1)):
        with _changed(settings, _leads(0.005, 0.1)) as worse:
            assert (
                "worse by more than chance: the lead over popularity (0.1000 to 0.0050)" in _answers(worse)[1]
            )
            assert 'id="trend"' in worse
            report(settings, force=True)
            assert "worse by more than chance: the lead" in _answers(_html(settings))[1]
            assert len(_history(settings).read_text().splitlines()) == 3
        with _changed(settings, _leads(0.098, 0.1)) as hardly:
            assert "nothing got worse by more than chance; what fell most is the lead" in _answers(hardly)[1]


def test_a_broken_line_of_the_history_is_passed_over(settings: Settings) -> None:
    before = _history(settings).read_bytes()
    try:
        _history(settings).write_bytes(b'{"digest": 1}\nnull\n\n{"half": \n' + before)
        report(settings, force=True)
        assert len(_history(settings).read_text().splitlines()) == 1
    finally:
        _history(settings).write_bytes(before)


def test_the_first_table_is_that_of_the_last_days_lists(settings: Settings, html: str) -> None:
    """Systems, best first, each figure that of metrics.json with its interval; what is of a day is folded."""
    head, *lines = _table(html)
    assert head[:3] == ["system", "share found @20", "minus published"]
    figures = pl.read_csv(settings.paths.data / "report" / "report.csv")
    own = figures.filter(
        pl.col("protocol") == "next_day",
        pl.col("slice") == "all",
        pl.col("k") == 20,
        pl.col("label") == "ratio",
    )
    found = own.filter(pl.col("metric") == "micro_recall")
    expected = {
        f"{value:.4f} [{low:.4f}, {high:.4f}]"
        for value, low, high in found.select("value", "low", "high").iter_rows()
    }
    assert {line[1] for line in lines} == expected
    values = [float(line[1].split()[0]) for line in lines]
    assert values == sorted(values, reverse=True)
    names = [line[0] for line in lines]
    assert {"Hybrid (published)", "Yesterday's popularity", "Source ease"} <= set(names)
    for day in figures.filter(pl.col("slice").str.starts_with("day: "))["slice"].unique():
        assert f"D{day[1:]}, at 10 (ratio)" in html
    assert "By inverse exposure, at 10" in html and "users without (ratio)" in html


def test_lists_that_are_not_a_users_have_a_section() -> None:
    def figure(protocol: str, label: str, system: str, part: str) -> dict[str, Any]:
        metric = "hit_rate" if protocol == "related" else "micro_recall"
        of = {"protocol": protocol, "label": label, "system": system, "slice": part}
        return of | {"metric": metric, "k": 10, "value": 0.25, "low": 0.2, "high": 0.3}

    rows = [
        figure(*of, part)
        for of in (
            ("related", "ratio", "related"),
            ("related", "any", "most_played_1_day"),
            ("popular", "ratio", "popular_by_city"),
            ("next_day", "ratio", "hybrid"),
        )
        for part in ("all", "city: Oslo")
    ]
    blocks = shared_blocks(pl.DataFrame(rows))
    tables = {one.caption: one for one in blocks if isinstance(one, Table)}
    assert tables["Related videos: liked plays, label ratio"].rows == [
        {"system": "Related", "hit rate @10": "0.2500 [0.2000, 0.3000]"}
    ]
    assert tables["Popular videos: liked plays, label ratio"].rows[0]["system"] == "Popular by city"
    folded = [one.title for one in blocks if isinstance(one, Fold)]
    assert "Popular videos, liked plays, label ratio: by day and segment" in folded
    assert shared_blocks(pl.DataFrame(rows[-1:])) == []


def test_the_attempts_stand_in_one_table_and_what_was_not_measured_says_so() -> None:
    def figure(protocol: str, system: str, value: float) -> dict[str, Any]:
        of = {"protocol": protocol, "label": "ratio", "system": system, "slice": "all"}
        return of | {"metric": "ndcg", "k": 10, "value": value, "low": value - 0.1, "high": value + 0.1}

    rows = [
        figure("next_day", "source_sequence", 0.25),
        figure("next_day", "hybrid", 0.5),
        figure("kuairec", "classifier", 0.75),
    ]
    (table,) = attempts_blocks(pl.DataFrame(rows), "ratio")
    assert isinstance(table, Table)
    found = {row["attempt"]: (row["NDCG@10 next_day"], row["NDCG@10 kuairec"]) for row in table.rows}
    none = "not measured"
    assert found == {
        "0 Popularity": (none, none),
        "1 ALS": (none, none),
        "2 Transformer": ("0.2500 [0.1500, 0.3500]", none),
        "3 Classifier": (none, "0.7500 [0.6500, 0.8500]"),
        "4 Regressor": (none, none),
        "Hybrid": ("0.5000 [0.4000, 0.6000]", none),
    }


def test_the_curve_of_the_transformer_says_whether_it_is_used(tmp_path: Path) -> None:
    curve = np.array([[0, np.nan, 0.1], [50, 3.0, 0.3], [100, 2.5, 0.2]], dtype=np.float32)
    for popularity, said in ((0.2, "It is used."), (0.4, "does not beat popularity on its stop day")):
        path = tmp_path / "sequence.npz"
        np.savez(path, curve=curve, popularity=np.array(popularity), used=np.array(popularity < 0.3))
        text, charts, looks = curve_blocks(path)
        assert isinstance(text, Paragraph) and isinstance(charts, Charts) and isinstance(looks, Fold)
        (table,) = looks.blocks
        assert isinstance(table, Table) and table.main == "50"
        assert [list(row.values()) for row in table.rows] == [
            ["0", "–", "0.1000"],
            ["50", "3.0000", "0.3000"],
            ["100", "2.5000", "0.2000"],
        ]
        assert "kept is step 50, with NDCG@10 of 0.3000" in text.text and said in text.text
        assert [len(chart.strokes[0].dots) for chart in charts.charts] == [3, 2]


def test_the_page_has_every_section(html: str) -> None:
    for title in (
        "Protocol kuairec",
        "Protocol impressions",
        "NDCG at K",
        "Recall at K",
        "Reliability",
        "by popularity",
        "by length",
        "regressor: share of gain",
        "Sample lists",
        "Settings",
        "Stages",
        "process_peak_mb",
    ):
        assert title in html, title


def test_every_link_leads_somewhere_on_the_page(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert links <= set(ids) and {"term-ndcg", "term-interval", "term-share-found"} <= links


def test_what_rounds_to_nothing_has_no_minus() -> None:
    assert with_interval(-1e-9, -0.01, -0.0, sign=True) == "+0.0000 [\N{MINUS SIGN}0.0100, +0.0000]"


def test_numbers_have_one_format(html: str) -> None:
    """A point and four digits, or whole with separators; seconds have one digit, ids none."""
    tables = html[: html.index('<details id="samples"')]
    cells = re.findall(r'<td class="n">(.*?)</td>', tables)
    one = r"[+−]?(\d{1,3}(,\d{3})*|\d+\.\d{4})"
    allowed = re.compile(rf"(–|{one}( \[{one}, {one}\])?( \*)?)")
    assert len(cells) > 1_000
    assert [cell for cell in cells if not allowed.fullmatch(cell)] == []


def test_the_hybrid_is_drawn_over_the_others(html: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    curves = [re.findall(r'class="line (\w+)"', chart) for chart in charts]
    curves = [inks for inks in curves if len(inks) > 2]
    assert len(curves) >= 6
    assert all(inks[-1] == "main" and len(inks) <= 5 for inks in curves)
    assert html.count("<figure>") == html.count("</svg>\n<p>")


class _Policy(HTMLParser):
    """Looks for what the page's own policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag == "script" or "style" in names or any(name.startswith("on") for name in names):
            self.found.append(self.get_starttag_text() or tag)


def test_the_page_asks_the_network_for_nothing_and_tells_no_place(html: str, settings: Settings) -> None:
    assert re.findall(r'(?:src|href)="(?!#|data:)', html) == []
    assert "<script" not in html and "@import" not in html and "url(" not in html
    policy = _Policy()
    policy.feed(html)
    assert policy.found == [] and "default-src 'none'; style-src 'sha256-" in html
    assert str(settings.home) not in html
    for name in ("ray_address", "shared_dir", "home_url", "raw_url"):
        assert f">{name}</t" not in html


def test_no_figure_of_the_page_is_not_a_number(html: str) -> None:
    assert not re.search(r"\b(nan|inf)\b", html, re.IGNORECASE)


def test_json_and_csv_beside_it_hold_the_figures(settings: Settings, html: str) -> None:
    folder = settings.paths.data / "report"
    records = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert records == json.loads((settings.paths.evaluation / "metrics.json").read_text(encoding="utf-8"))
    assert pl.read_csv(folder / "report.csv", infer_schema_length=None).height == len(records)


def test_captions_are_shown_and_escaped(settings: Settings) -> None:
    path = settings.paths.table("video_captions")
    before = path.read_bytes()
    try:
        pl.read_parquet(path).with_columns(pl.lit("<b>猫 & 狗").alias(columns.CAPTION)).write_parquet(path)
        report(settings, force=True)
        text = _html(settings)
    finally:
        path.write_bytes(before)
    assert "&lt;b&gt;猫 &amp; 狗" in text and "<b>" not in text


def test_a_second_report_is_skipped(settings: Settings) -> None:
    report(settings)
    assert report(settings).skipped


@needs_chromium
def test_before_anything_is_unfolded_it_is_under_six_screens(settings: Settings, browser: Browser) -> None:
    """And the verdict with its numbers, good or bad, is on the first of them, in one size of type."""
    url = (settings.paths.data / "report" / "report.html").as_uri()
    sizes = set()
    for leads in ((0.1, 0.1), (-0.1, -0.1)):
        with _changed(settings, _leads(*leads)):
            browser.look(View(*LAPTOP))
            browser.open(url)
            assert browser.evaluate("return document.documentElement.scrollHeight") < 6 * LAPTOP[1]
            bottom = "return document.querySelector('.tiles').getBoundingClientRect().bottom"
            assert browser.evaluate(bottom) < LAPTOP[1]
            assert browser.find("#trend svg") != [] and cut_labels(browser) == []
            size = (
                "return [...document.querySelectorAll('.answer')].map(one => getComputedStyle(one).fontSize)"
            )
            sizes |= set(browser.evaluate(size))
    assert len(sizes) == 1


@needs_chromium
def test_everybody_can_use_it(settings: Settings, html: str, browser: Browser) -> None:
    """axe-core, keyboard, both schemes and widths, less motion; the console is silent and the network too."""
    url = (settings.paths.data / "report" / "report.html").as_uri()
    browser.log("browser")
    browser.log("performance")
    check_everywhere(browser, url)
    browser.look(View(*LAPTOP))
    check_keyboard(browser, url)
    check_still(browser, url)
    assert [entry for entry in browser.log("browser") if "favicon" not in entry["message"]] == []
    asked = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    urls = {m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"}
    assert {one for one in urls if not one.startswith(("file:", "data:"))} == set()


@needs_chromium
def test_unfolded_nothing_is_cut_or_leaves_the_screen(
    settings: Settings, html: str, browser: Browser
) -> None:
    url = (settings.paths.data / "report" / "report.html").as_uri()
    for size in (LAPTOP, PHONE):
        browser.look(View(*size))
        browser.open(url)
        browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert cut_labels(browser) == [] and sideways(browser) == []


@needs_chromium
def test_the_layout_is_that_of_the_screen(settings: Settings, html: str, browser: Browser) -> None:
    """Four numbers in a row, the chart beside the table, or all in one column; nothing overlaps."""
    url = (settings.paths.data / "report" / "report.html").as_uri()
    for size, tiles, beside in ((LAPTOP, 4, 2), (PHONE, 1, 1)):
        browser.look(View(*size))
        browser.open(url)
        assert columns_of(browser, ".tiles > div") == tiles
        assert columns_of(browser, "#next_day .beside > *") == beside
        assert overlapping(browser) == []


@needs_chromium
def test_dark_is_dark_and_paper_shows_what_is_folded(settings: Settings, html: str, browser: Browser) -> None:
    url = (settings.paths.data / "report" / "report.html").as_uri()
    paper = "return getComputedStyle(document.body).backgroundColor"
    browser.look(View(*LAPTOP, "dark"))
    browser.open(url)
    dark = browser.evaluate(paper)
    browser.look(View(*LAPTOP, "dark", "print"))
    assert dark != browser.evaluate(paper) == "rgb(255, 255, 255)"
    height = "return document.querySelector('#kuairec table').getBoundingClientRect().height"
    assert browser.evaluate(height) > 20
    assert browser.evaluate("return getComputedStyle(document.querySelector('nav')).display") == "none"
    browser.look(View(*LAPTOP))


def test_before_an_evaluation_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    with pytest.raises(InputError, match="nightreel"):
        report(load_settings())


def test_a_metric_by_its_old_name_is_still_drawn(settings: Settings) -> None:
    def renamed(record: dict[str, Any]) -> None:
        record["metric"] = record["metric"].replace("share_of_list", "share_of_places")

    with _changed(settings, renamed) as page:
        assert "Positions by popularity of the video" in page
        assert "share_of_places" not in page
