"""`import nightreel`: the names that it offers, and what docs/python.md and docs/python.ipynb show."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

import nightreel
from nightreel.core.ids import Ids
from tests.conftest import Nightreel
from tests.fixtures.tables import read_table

DOCS = Path(__file__).parents[2] / "docs"
FIT, HOME = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(encoding="utf-8"), re.DOTALL)
SMALL = """ranker.objective = "shown"
ranker.lightgbm.num_iterations = 10
features.als.factors = 4
retrieval.sources = "recent_2d,item_knn"
evaluation.backtest_days = 1
lists.top_k = 10
lists.shared.related_k = 5
data.time_zone = "UTC"
"""
NAMES = {
    *("AuditError", "BusyError", "Explanation", "Fitted", "Home", "InputError", "LastStage"),
    *("NightreelError", "OtherPython", "Recommender", "__version__", "fit", "open"),
}


def _plays(rows: int = 4_000, days: int = 9) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "user_id": rng.integers(1, 41, rows),
            "item_id": rng.integers(0, 30, rows) + rng.integers(0, 31, rows),
            "timestamp": 1_777_000_000 + np.sort(rng.integers(0, days * 86_400, rows)),
            "rating": rng.integers(1, 6, rows),
        }
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names that both examples of the page leave behind, run one after the other in a folder."""
    folder = tmp_path_factory.mktemp("python")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Of no concern to `fit`, whose home is its own.
        patch.setenv("NIGHTREEL_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
        patch.setenv("NIGHTREEL_HOME", str(folder / "another"))
        _plays().write_csv("plays.csv")
        names: dict[str, Any] = {}
        example = FIT.replace("fitted.recommend", "recommended = fitted.recommend")
        exec(example, names)
        patch.delenv("NIGHTREEL_DATABASE_URL")
        (folder / "my-home").mkdir()
        (folder / "my-home" / "nightreel.toml").write_text(SMALL, encoding="utf-8")
        exec(HOME, names)
        yield names
    assert not (folder / "another").exists()


def test_the_names_are_these_and_the_stub_says_the_same() -> None:
    assert set(nightreel.__all__) == NAMES
    assert set(dir(nightreel)) >= NAMES
    stub = (Path(nightreel.__file__).parent / "__init__.pyi").read_text(encoding="utf-8")
    listed = stub[stub.index("__all__") :]
    assert set(re.findall(r'"(\w+)"', listed)) == NAMES
    assert set(re.findall(r" as (\w+)$", stub, flags=re.MULTILINE)) | {"__version__"} == NAMES
    for name in NAMES:
        assert getattr(nightreel, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'recommend'"):
        nightreel.recommend  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("library", ["polars", "pandas", "arrow"])
def test_uuids_of_any_library_are_ids(tmp_path: Path, library: str) -> None:
    people, films = ([uuid.UUID(int=least + n) for n in range(3)] for least in (2**90, 2**100))
    rest = {"timestamp": [1_777_000_000 + n for n in range(3)], "rating": ["5", "4", "x"]}
    frame: Any
    if library == "arrow":
        bytes_of = [pa.array([one.bytes for one in ids], pa.uuid()) for ids in (people, films)]
        frame = pa.table({"user_id": bytes_of[0], "item_id": bytes_of[1], **rest})
    else:
        frame = {"polars": pl.DataFrame, "pandas": pd.DataFrame}[library](
            {"user_id": people, "item_id": films, **rest}
        )
    (tmp_path / "nightreel.toml").write_text("data.max_reject_share = 0.5\n" + SMALL)
    home = nightreel.open(tmp_path)
    home.ingest(frame)
    found = read_table(home.settings, "interactions")
    ids = [
        Ids.of(home.settings.paths, name).outward(found[name].to_list()) for name in ("user_id", "video_id")
    ]
    # The third has no rating that is a number.
    assert ids == [[str(one) for one in people[:2]], [str(one) for one in films[:2]]]


def test_the_import_alone_loads_nothing() -> None:
    heavy = ("numpy", "polars", "feast", "pydantic")
    asked = f"import sys, nightreel; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fit_gives_lists_from_frames_alone(shown: dict[str, Any]) -> None:
    rows = shown["recommended"]
    assert rows.columns == ["user_id", "rank", "video_id", "score"]
    assert rows["user_id"].to_list() == [3] * 5 + [14] * 5
    assert rows["rank"].to_list() == [*range(1, 6)] * 2
    played = shown["plays"].filter(pl.col("user_id") == 3)["item_id"].to_list()
    assert not set(rows.filter(pl.col("user_id") == 3)["video_id"]) & set(played)
    assert not shown["fitted"].home.path.exists()


def test_any_columns_of_profiles_become_features() -> None:
    users = pl.DataFrame({"user_id": range(1, 41), "age": range(20, 60), "city": ["Köln", "Łódź"] * 20})
    items = pd.DataFrame({"item_id": range(61), "genre": ["a", "b", "c"] * 20 + ["a"], "votes": range(61)})
    small = {"ranker.objective": "shown", "ranker.lightgbm.num_iterations": 5, "features.als.factors": 4}
    declared = {"data.user_columns": {"age": "categorical"}}
    with nightreel.fit(_plays(1_500), users=users, items=items, settings=small | declared) as fitted:
        (manifest,) = (fitted.home.path / "data" / "models").glob("*/manifest.json")
        features = json.loads(manifest.read_text(encoding="utf-8"))["features"]
        assert {"user_age", "item_votes"} <= set(features) and "user_city" not in features
        captions = pl.read_parquet(fitted.home.path / "data" / "tables" / "video_captions.parquet")
        assert captions["first_level_category_name"].head(3).to_list() == ["a", "b", "c"]


def test_a_home_gives_what_its_commands_show(shown: dict[str, Any], nightreel: Nightreel) -> None:
    home, lists = shown["home"], shown["lists"]
    assert list(shown["done"]) == [
        *("ingest", "features", "feast apply", "train", "backtest", "evaluate", "score"),
    ]
    said = json.loads(nightreel("show", "3", "--json", home=home.path).stdout)
    rows = lists.filter(pl.col("user_id") == 3)
    for name in ("rank", "video_id", "score", "classifier_score", "source"):
        assert rows[name].to_list() == [row[name] for row in said]
    assert set(home.lists()["user_id"].unique()) == set(_plays()["user_id"].unique())
    assert home.lists([987_654]).is_empty()
    assert {"protocol", "system", "metric", "value"} <= set(shown["figures"].columns)
    video = str(lists["video_id"][0])
    why = json.loads(nightreel("show", "3", "--why", video, "--json", home=home.path).stdout)
    assert (why["rank"], why["rank"]) == (shown["why"].rank, 1)
    settings = json.loads(nightreel("settings", "--json", home=home.path).stdout)
    for row in settings:
        if row["from"] == "file":
            value = home.settings.value(row["setting"])
            assert (value.model_dump_json() if isinstance(value, BaseModel) else str(value)) == row["value"]


def test_the_next_days_plays_are_merged_and_pandas_will_do(shown: dict[str, Any]) -> None:
    home = shown["home"]
    before = read_table(home.settings, "interactions").height
    later = pd.DataFrame(
        {"user": [3, 4], "item": [5, 6], "timestamp": pd.to_datetime(["2026-05-04", "2026-05-05"], utc=True)}
    )
    home.ingest(later)
    after = read_table(home.settings, "interactions")
    assert after.height == before + 2
    new = after.filter(pl.col("created_timestamp") > pl.lit(0).cast(pl.Datetime("us", "UTC"))).sort("user_id")
    assert new.select("user_id", "video_id", "watch_ratio").rows() == [(3, 5, 2.0), (4, 6, 2.0)]


def test_what_cannot_be_used_is_refused_in_a_line(shown: dict[str, Any], tmp_path: Path) -> None:
    home, error = shown["home"], nightreel.InputError
    with pytest.raises(error, match="The frame has no column timestamp; it has user_id, item_id"):
        home.ingest(_plays().drop("timestamp", "rating"))
    with pytest.raises(error, match="cannot be read"):
        home.ingest(_plays(5).with_columns(pl.lit("once").alias("timestamp")))
    with pytest.raises(error, match=r"row 2: column rating: no value\. Correct"):
        home.ingest(_plays(5).with_columns(pl.Series("rating", [1, None, 2, 3, 4])))
    with pytest.raises(error, match="is not between 1970-01-02 and a day past now"):
        home.ingest(_plays(5).with_columns(pl.lit(datetime(2124, 1, 1, tzinfo=UTC)).alias("timestamp")))
    with pytest.raises(error, match="The frame of plays has no rows"):
        home.ingest(_plays(5).head(0))
    with pytest.raises(error, match="The frame has column user_id twice"):
        home.ingest(pd.concat([_plays(5).to_pandas()] * 2, axis=1)[["user_id", "rating"]])
    with pytest.raises(error, match="not a dataframe"):
        home.ingest(object())
    with pytest.raises(error, match="no such folder"):
        nightreel.open(tmp_path / "nowhere")
    with pytest.raises(error, match="tree: no such setting"):
        nightreel.fit(_plays(), settings={"tree": 3})
    with pytest.raises(error, match="k = 11: lists have 1 to 10 rows"):
        nightreel.Fitted(home, None).recommend([3], k=11)  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_notebook_runs_and_bears_its_outputs() -> None:
    notebook = json.loads((DOCS / "python.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for cell in code:
        exec("".join(cell["source"]), names)
    assert [bool(cell["outputs"]) for cell in code] == [True, True, True, False]
    assert names["lists"].height == 10
    assert names["why"].rank == 1
