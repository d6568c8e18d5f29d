"""Two steps that change a home never work on it at once: the second waits, or says who is there."""

from pathlib import Path

from nightreel.core.locks import locked_file
from tests.fixtures.small_log import make_log, settings_for


def test_a_step_that_finds_another_at_work_says_who_and_ends_with_3(tmp_path: Path, nightreel) -> None:
    settings = settings_for(tmp_path)
    make_log(3).write(settings)
    with locked_file(settings.paths.state / "home.lock", "is at work on this home (ingest)"):
        busy = nightreel("features", home=tmp_path, NIGHTREEL_HOME_WAIT_S="0")
    assert busy.returncode == 3
    assert "is at work on this home (ingest)" in busy.stderr and "process" in busy.stderr
    assert "Traceback" not in busy.stderr
    free = nightreel("features", home=tmp_path, NIGHTREEL_HOME_WAIT_S="0")
    assert free.returncode == 0, free.stderr
