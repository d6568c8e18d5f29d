"""The code in the package's README works as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from feast import RepoConfig

import feast_asof

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_block_runs_and_imports_no_ray(tmp_path: Path) -> None:
    """In an empty folder, with the result that its comment says, and with Feast's checks of types."""
    (block,) = _blocks("python")
    (tmp_path / "readme.py").write_text(f"{block}\nimport sys\nassert 'ray' not in sys.modules\n")
    command = [sys.executable, "-W", "ignore", "readme.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0.2, 0.1, 0.3, None]"
    assert pq.read_table(tmp_path / "training.parquet").column_names == [
        "user",
        "event_timestamp",
        "clicked",
        "score",
    ]


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
