"""docs/own-models.md does what it says: its classes, brought by entry points, up to the published lists."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core import own_models
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from pipelines import model_registry
from pipelines.rankers import train
from pipelines.rankers.objective import objective_of
from pipelines.retrieval.other_python import OtherPython
from pipelines.retrieval.own import OwnSource
from pipelines.retrieval.past import Past
from pipelines.training_frame import read_plays
from scoring.database.publish import score_and_publish
from scoring.database.show import lists_of_users
from scoring.explain import explain
from tests.fixtures.feature_home import make_feature_home
from tests.fixtures.scored_home import AS_OF, scoring_log

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-models.md").read_text(encoding="utf-8")
SOURCE, STAGE, RECTOOLS, _CLASS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
(ENTRY_POINTS,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
SETTINGS = """ranker.objective = "next_day"
ranker.lightgbm.num_iterations = 20
ranker.lightgbm.early_stopping_round = 20
lists.top_k = 6
ranker.filter_k = 12
retrieval.source_k = 5
"""


def _install(site: Path, version: str = "1.0") -> None:
    """What pip would lay down for the page's package."""
    site.mkdir()
    (site / "my_models.py").write_text(SOURCE + STAGE, encoding="utf-8")
    metadata = site / f"my_models-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: my-models\nVersion: {version}\n")
    lines = re.sub(r'\[project\.entry-points\."(.*)"\]', r"[\1]", ENTRY_POINTS).replace('"', "")
    (metadata / "entry_points.txt").write_text(lines, encoding="utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("own-models")
    with pytest.MonkeyPatch.context() as patch:
        _install(folder / "site")
        patch.syspath_prepend(folder / "site")
        own_models.forget_found()
        settings = re.findall(r"^(?:sources|candidates) = .*$", PAGE, flags=re.MULTILINE)
        more = SETTINGS + "".join(f"retrieval.{line}\n" for line in settings)
        made = make_feature_home(folder / "home", scoring_log(), patch, more_settings=more)
        train(made)
        train(made.changed({"ranker.objective": "shown"}))
        yield made
    own_models.forget_found()
    sys.modules.pop("my_models", None)
    importlib.invalidate_caches()


def _model(settings: Settings, objective: str) -> str:
    versions = (
        model_registry.find(settings.paths, name) for name in model_registry.version_names(settings.paths)
    )
    return next(one.version for one in versions if objective_of(one) == objective)


@pytest.mark.parametrize("objective", ["next_day", "shown"])
def test_a_source_of_ones_own_brings_rows_of_the_lists(home: Settings, objective: str) -> None:
    model = _model(home, objective)
    # Objective `shown` asks the sources for four times as many: fewer than there are videos.
    few = home.changed({"ranker.filter_k": 6})
    run = score_and_publish(few, as_of=AS_OF, model_version=model, publish=True).summary["run_id"]
    rows = lists_of_users(home, run_id=run).filter(pl.col("source") == "hybrid")
    brought = rows.filter(pl.col("candidate_sources").str.split(",").list.contains("companions"))
    assert 0 < brought.height < rows.height
    # What it recommends to whom, by the page's own class.
    past = Past.of(read_plays(home.paths), AS_OF, home.data)
    arrays = OwnSource("companions", importlib.import_module("my_models").Companions).fit(past, home)
    own = {
        int(user): set(past.video_id[arrays["video"][arrays["start"][at] : arrays["start"][at + 1]]].tolist())
        for at, user in enumerate(arrays["user_id"])
    }
    for user, video in brought.select("user_id", "video_id").iter_rows():
        assert video in own[user]
    found = explain(few, *brought.select("user_id", "video_id").row(0), run_id=run)
    assert found.remark is None
    assert "companions" in found.candidate_sources


@pytest.mark.parametrize("objective", ["next_day", "shown"])
def test_a_last_stage_of_ones_own_orders_what_the_filter_keeps(home: Settings, objective: str) -> None:
    model = _model(home, objective)
    every = home.changed({"lists.top_k": 12})
    kept = score_and_publish(every, as_of=AS_OF, model_version=model, publish=True).summary["run_id"]
    newest = home.changed({"ranker.last_stage": "newest"})
    run = score_and_publish(newest, as_of=AS_OF, model_version=model, publish=True).summary["run_id"]
    expected = (
        lists_of_users(home, run_id=kept)
        .sort("user_id", "video_id", descending=[False, True])
        .group_by("user_id", maintain_order=True)
        .head(6)
    )
    rows = lists_of_users(home, run_id=run)
    assert rows.select("user_id", "video_id").equals(expected.select("user_id", "video_id"))
    assert rows["score"].to_list() == rows["video_id"].cast(pl.Float64).to_list()


def test_settings_know_the_names_and_refuse_others(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_RANKER_LAST_STAGE", "newest")
    assert load_settings().ranker.last_stage == "newest"
    for name, value in (("RANKER_LAST_STAGE", "oldest"), ("RETRIEVAL_CANDIDATES", "als,strangers")):
        with monkeypatch.context() as patch:
            patch.setenv(f"NIGHTREEL_{name}", value)
            with pytest.raises(InputError, match=r"newest|companions"):
                load_settings()


class _Wrong:
    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def fit(self, plays: pl.DataFrame) -> None: ...

    def recommend(self, user_ids: np.ndarray, k: int) -> pl.DataFrame:
        return self._frame


def test_a_source_that_gives_nonsense_is_named(home: Settings) -> None:
    past = Past.of(read_plays(home.paths), AS_OF, home.data)
    user, video = int(past.user_id[0]), int(past.video_id[0])
    good = pl.DataFrame({"user_id": [user], "video_id": [video], "score": [1.0]})
    for frame, said in (
        (good.drop("score"), "no column score"),
        (good.with_columns(score=float("nan")), "not a number"),
        (good.with_columns(video_id=987_654), "video_id 987654, which no play has"),
        (pl.concat([good, good]), "a video twice"),
    ):
        with pytest.raises(InputError, match=f"Candidate source wrong: its .*{said}"):
            OwnSource("wrong", lambda frame=frame: _Wrong(frame)).fit(past, home)
    assert OwnSource("right", lambda: _Wrong(good)).fit(past, home)["value"].tolist() == [1.0]


def test_a_script_under_another_python_gives_lists_or_its_error(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import csv, sys\nplays, users, k, lists = sys.argv[1:]\n"
        "videos = sorted({row['video_id'] for row in csv.DictReader(open(plays))})\n"
        "with open(lists, 'w') as out:\n    out.write('user_id,video_id,score\\n')\n"
        "    for row in csv.DictReader(open(users)):\n"
        "        user = row['user_id']\n"
        "        out.writelines(f'{user},{video},{-n}\\n' for n, video in enumerate(videos[:int(k)]))\n"
    )
    plays = pl.DataFrame({"user_id": [1, 2], "video_id": [7, 8], "liked": [True, False]})
    model = OtherPython(sys.executable, script)
    model.fit(plays)
    assert model.recommend(np.array([1, 2]), 1).rows() == [(1, 7, 0), (2, 7, 0)]
    script.write_text("raise SystemExit('out of plays')")
    model.fit(plays)
    with pytest.raises(InputError, match=r"it ended with 1 and has written no list; it said: out of plays\."):
        model.recommend(np.array([1]), 1)


def test_the_script_for_rectools_recommends(home: Settings, tmp_path: Path) -> None:
    python = ROOT / ".venv-peers" / "bin" / "python"
    if not python.is_file():
        pytest.skip("no RecTools: it wants NumPy 1 and a fork of implicit; `make peers` gives it .venv-peers")
    asked = [python, "-c", "import rectools"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no RecTools in .venv-peers: run `make peers`")
    script = tmp_path / "rectools_ease.py"
    script.write_text(RECTOOLS, encoding="utf-8")
    past = Past.of(read_plays(home.paths), AS_OF, home.data)
    arrays = OwnSource("rectools_ease", lambda: OtherPython(python, script)).fit(past, home)
    liked = {int(user) for user in past.user_id[np.unique(past.user[past.liked])]}
    known = arrays["user_id"][np.diff(arrays["start"]) > 0].tolist()
    assert set(known) <= liked and len(known) > len(liked) / 2
