"""What docs/read-the-table.md shows runs, on a database with published lists."""

import re
import sqlite3
from pathlib import Path

import pytest

from nightreel.core.settings import Settings
from tests.fixtures.published_home import publish_small_lists

PAGE = (Path(__file__).parents[2] / "docs" / "read-the-table.md").read_text(encoding="utf-8")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings.model_validate({"home": tmp_path})
    publish_small_lists(found)
    return found


def test_every_statement_runs(settings: Settings) -> None:
    blocks = re.findall(r"```sql\n(.*?)```", PAGE, flags=re.DOTALL)
    inline = re.findall(r"`(SELECT [^`]+;)`", PAGE)
    assert len(blocks) >= 3
    assert len(inline) >= 1
    with sqlite3.connect(settings.paths.sqlite) as connection:
        for statement in [*blocks, *inline]:
            connection.execute(statement).fetchall()
        assert len(connection.execute(blocks[-1]).fetchall()) == 10


def test_the_sqlalchemy_example_reads_a_list(settings: Settings) -> None:
    with sqlite3.connect(settings.paths.sqlite) as connection:
        user = connection.execute("SELECT min(user_id) FROM latest_recommendation").fetchone()[0]
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, object] = {"url": settings.sqlalchemy_url}
    exec(example.replace('"user": 14', f'"user": {user}'), names)
    assert [row["rank"] for row in names["rows"]] == [*range(1, 11)]  # type: ignore[index, attr-defined]
