"""Ids are shown as they are typed; amounts have separators."""

import pytest

from nightreel.artefacts import StepResult
from nightreel.printing import print_result, print_table

LARGE = 9_007_199_254_741_279


def test_ids_are_shown_without_separators(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"video_id": LARGE, "author_id": 123_456, "rows": 12_345}])
    assert capsys.readouterr().out.split("\n")[1].split() == [str(LARGE), "123456", "12,345"]


def test_ids_among_the_facts_of_a_step_are_shown_without_separators(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = {"user_id": LARGE, "video_ids": [LARGE, 20_000], "rows": 12_345}
    print_result(StepResult("score", False, (), (), summary), 1.0)
    shown = capsys.readouterr().out
    assert f"user id: {LARGE}\n" in shown
    assert f"video ids: {LARGE}, 20000\n" in shown
    assert "rows: 12,345\n" in shown
