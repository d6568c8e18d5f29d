"""The code in the package's README works as printed."""

import re
import runpy
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from feast import RepoConfig

import feast_asof

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_block_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an empty folder, with the result that its comment says."""
    (block,) = _blocks("python")
    (tmp_path / "readme.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("readme.py")
    assert capsys.readouterr().out.splitlines()[-1] == "[0.2, 0.1, 0.3, None]"
    assert pq.read_table("training.parquet").column_names == ["user", "event_timestamp", "clicked", "score"]


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    """Feast accepts the yaml and takes this package's store from it."""
    (block,) = _blocks("yaml")
    config = RepoConfig(**yaml.safe_load(block), repo_path=tmp_path)
    assert isinstance(config.offline_store, feast_asof.AsOfOfflineStoreConfig)


def test_every_public_way_out_of_a_job_is_in_the_readme() -> None:
    """A method that a user may call is documented, or is Feast's own."""
    own = {name for name in vars(feast_asof.AsOfRetrievalJob) if not name.startswith("_")}
    inherited = {"full_feature_names", "on_demand_feature_views", "metadata"}
    schema = {"num_rows", "column_names", "schema"}
    assert [name for name in own - inherited - schema if name not in README] == []
