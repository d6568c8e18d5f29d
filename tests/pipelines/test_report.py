"""The report: whole in one file, with what it promises, and without an error in a real browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from pipelines.evaluate import evaluate
from pipelines.rankers import train
from pipelines.report import report
from pipelines.report.charts import Line, bars, lines
from scoring.backtest import backtest
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.small_log import make_log

MODELS = "trees = 10\nfilter_k = 5\nraw_dir = 'raw'\nas_published_plays = 500\nas_published_trees = 5\n"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    log = make_log(7, users=30, videos=40, plays=3_000)
    with pytest.MonkeyPatch.context() as patch:
        settings = make_feature_home(
            tmp_path_factory.mktemp("report") / "home", log, patch, more_settings=MODELS
        )
        # The last plays stand in for fully observed pairs: here only the page matters.
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


@pytest.fixture
def html(settings: Settings) -> str:
    return (settings.paths.data / "report" / "report.html").read_text(encoding="utf-8")


def _first_table(html: str) -> list[list[str]]:
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", html[: html.index("</table>")], flags=re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", line) for line in lines]


def test_the_first_table_is_that_of_the_last_days_lists(settings: Settings, html: str) -> None:
    """Systems by metrics, each figure that of metrics.json with its interval; what is of a day is folded."""
    assert html.index('id="next_day"') < html.index('id="kuairec"')
    head, *lines = _first_table(html)
    figures = pl.read_csv(settings.paths.data / "report" / "report.csv")
    own = figures.filter(pl.col("protocol") == "next_day", pl.col("slice") == "all", pl.col("k") == 10)
    systems = own["system"].unique(maintain_order=True).to_list()
    assert [line[0] for line in lines] == systems and "source_ease" in systems
    metrics = ["recall", "precision", "hit_rate", "ndcg", "map", "micro_recall", "coverage", "gini"]
    assert head == ["system", *(f"{metric}@10" for metric in metrics)]
    for line in lines:
        of_system = own.filter(pl.col("system") == line[0], pl.col("label").is_in(["ratio", "any"]))
        for metric, cell in zip(metrics, line[1:], strict=True):
            label = "any" if metric in ("coverage", "gini") else "ratio"
            row = of_system.filter(pl.col("metric") == metric, pl.col("label") == label)
            ((value, low, high),) = row.select("value", "low", "high").iter_rows()
            interval = "" if low is None else f" [{low:.4f}, {high:.4f}]"
            assert cell == f"{value:.4f}{interval}"
    for day in figures.filter(pl.col("slice").str.starts_with("day: "))["slice"].unique():
        assert f"<details><summary>{day}</summary>" in html
    assert "By inverse exposure, at 10" in html and "users without (ratio)" in html


def test_the_page_has_every_section(html: str) -> None:
    for title in (
        "Protocol kuairec",
        "Protocol impressions",
        "NDCG at K",
        "Recall at K",
        "Reliability",
        "by popularity",
        "by length",
        "What leakage and definition are worth",
        "regressor: share of gain",
        "Sample lists",
        "Settings",
        "Stages",
        "process_peak_mb",
    ):
        assert title in html, title


def test_the_page_asks_the_network_for_nothing_and_tells_no_place(html: str, settings: Settings) -> None:
    assert re.findall(r'(?:src|href)="(?!#|data:)', html) == []
    assert "<script" not in html and "@import" not in html and "url(" not in html
    assert str(settings.home) not in html
    for place in ("ray_address", "shared_dir", "work_dir", "home_url", "raw_url"):
        assert f"<td>{place}</td>" not in html


def test_no_figure_of_the_page_is_not_a_number(html: str) -> None:
    assert not re.search(r"\b(nan|inf)\b", html, re.IGNORECASE)


def test_json_and_csv_beside_it_hold_the_figures(settings: Settings) -> None:
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
        text = (settings.paths.data / "report" / "report.html").read_text(encoding="utf-8")
    finally:
        path.write_bytes(before)
    assert "&lt;b&gt;猫 &amp; 狗" in text and "<b>" not in text


def test_a_second_report_is_skipped(settings: Settings) -> None:
    assert report(settings).skipped


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_it_without_an_error(settings: Settings, tmp_path: Path) -> None:
    """The screenshot is not blank, the console is silent, and the rendered page has its tables and charts."""
    page = settings.paths.data / "report" / "report.html"
    common = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--window-size=1280,2400",
    ]
    shot = tmp_path / "report.png"
    done = subprocess.run(
        [*common, f"--screenshot={shot}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    # A blank page of this size compresses to a few kilobytes.
    assert shot.stat().st_size > 60_000
    dumped = subprocess.run(
        [*common, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=False
    ).stdout
    assert dumped.count("<svg") >= 18 and dumped.count("<table") >= 30


def test_before_an_evaluation_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    with pytest.raises(InputError, match="nightreel"):
        report(load_settings())


def test_a_line_stands_where_its_values_are() -> None:
    text = lines(
        [Line("hybrid", [10, 100], [0.0, 1.0], [None, None], [None, None])],
        title="t",
        x_title="K",
        ticks=[(10.0, "10"), (100.0, "100")],
        logarithmic=True,
    )
    (points,) = re.findall(r'polyline points="([^"]+)"', text)
    assert points == "52.0,286.0 520.0,14.0"


def test_bars_are_as_long_as_their_shares() -> None:
    widths = re.findall(
        r'width="([\d.]+)" height="13"', bars([("a", 0.5), ("b", 0.25)], title="t", ink="#000")
    )
    assert float(widths[0]) == pytest.approx(2 * float(widths[1]))
