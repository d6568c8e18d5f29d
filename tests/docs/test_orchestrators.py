"""docs/orchestrators.md: each file by its own checker, and what it says of every command."""

import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click import Command

from tests.conftest import Nightreel
from tests.docs.test_references import COMMANDS
from tests.fixtures.published_home import publish_small_lists
from tests.fixtures.raw_log import RawLog

PAGE = (Path(__file__).parents[2] / "docs" / "orchestrators.md").read_text(encoding="utf-8")
SERVICE, TIMER = re.findall(r"```ini\n(.*?)```", PAGE, flags=re.DOTALL)
(MANIFEST,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
DAG, DAGSTER = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SCHEMA = json.loads((Path(__file__).parent / "cronjob.schema.json").read_text(encoding="utf-8"))


def test_systemd_takes_the_unit_and_the_timer(tmp_path: Path) -> None:
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("no systemd-analyze on this machine")
    # It looks for the program, which is elsewhere here.
    service = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", SERVICE, flags=re.MULTILINE)
    files = [tmp_path / "nightreel.service", tmp_path / "nightreel.timer"]
    for file, content in zip(files, (service, TIMER), strict=True):
        file.write_text(content, encoding="utf-8")
    done = subprocess.run([checker, "verify", *files], capture_output=True, text=True, check=False)
    assert (done.returncode, "nightreel" in done.stderr) == (0, False), done.stderr
    (calendar,) = re.findall(r"^OnCalendar=(.*)$", TIMER, flags=re.MULTILINE)
    done = subprocess.run([checker, "calendar", calendar], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_kubernetes_takes_the_manifest(tmp_path: Path) -> None:
    manifest = yaml.safe_load(MANIFEST)
    # The part of Kubernetes' own schema that the manifest uses; a field that it does not know is refused.
    jsonschema.validate(manifest, SCHEMA)
    checker = shutil.which("kubeconform")
    if checker is not None:
        (tmp_path / "cronjob.yaml").write_text(MANIFEST, encoding="utf-8")
        command = [checker, "-strict", tmp_path / "cronjob.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_schema_refuses_a_misspelt_field() -> None:
    manifest = yaml.safe_load(MANIFEST.replace("concurrencyPolicy", "concurencyPolicy"))
    with pytest.raises(jsonschema.ValidationError, match="concurencyPolicy"):
        jsonschema.validate(manifest, SCHEMA)


class _Task:
    """What `@task` makes, as far as the page uses it: called, it records; `>>` says what comes after."""

    def __init__(self, function: Callable[..., Any], made: "list[_Task]", name: str = "") -> None:
        self.function, self.name, self.made = function, name, made
        self.arguments: tuple[str, ...] = ()
        self.after: list[_Task] = []

    def override(self, task_id: str) -> "_Task":
        return _Task(self.function, self.made, task_id)

    def __call__(self, *arguments: str) -> "_Task":
        self.arguments = arguments
        self.made.append(self)
        return self

    def __rshift__(self, other: "_Task") -> "_Task":
        other.after.append(self)
        return other


class _FailError(Exception):
    pass


def _airflow(made: list[_Task]) -> dict[str, types.ModuleType]:
    sdk, exceptions = types.ModuleType("airflow.sdk"), types.ModuleType("airflow.sdk.exceptions")
    sdk.task = lambda *, retries, retry_delay: lambda function: _Task(function, made)  # type: ignore[attr-defined]
    sdk.dag = lambda *, schedule, start_date, catchup, max_active_runs: lambda function: function  # type: ignore[attr-defined]
    exceptions.AirflowFailException = _FailError  # type: ignore[attr-defined]
    return {"airflow": types.ModuleType("airflow"), "airflow.sdk": sdk, "airflow.sdk.exceptions": exceptions}


def test_the_dag_runs_commands_that_there_are_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nightreel_night.py"
    file.write_text(DAG, encoding="utf-8")
    if importlib.util.find_spec("airflow") is not None:
        found = runpy.run_path(str(file))["nightreel_night"]()
        assert set(found.task_ids) == {"night", "status", "export"}
        return
    # Airflow cannot be installed beside Feast: stubs with the names that the page uses.
    made: list[_Task] = []
    for name, module in _airflow(made).items():
        monkeypatch.setitem(sys.modules, name, module)
    exec(compile(DAG, str(file), "exec"), {})
    assert [task.name for task in made] == ["night", "status", "export"]
    assert [[before.name for before in task.after] for task in made] == [[], ["night"], ["status"]]
    known = dict(COMMANDS)
    for task in made:
        assert f"nightreel {task.arguments[0]}" in {" ".join(typed.split()[:2]) for typed in known}
    for code, error in ((2, _FailError), (1, RuntimeError), (3, RuntimeError)):
        ended = subprocess.CompletedProcess((), code, stdout="")
        monkeypatch.setattr(subprocess, "run", lambda *_, ended=ended, **__: ended)
        with pytest.raises(error):
            made[0].function("status")


class _Op:
    """What `@op` makes, as far as the page uses it; called within a job, it records."""

    def __init__(self, function: Callable[..., Any], made: "list[tuple[str, str | None]]") -> None:
        self.function, self.made = function, made

    def __call__(self, after: str | None = None) -> str:
        name = self.function.__name__
        self.made.append((name, after))
        return name


class _Failure(Exception):
    def __init__(self, said: str, *, allow_retries: bool) -> None:
        super().__init__(said)
        self.allow_retries = allow_retries


class _Context:
    def __init__(self) -> None:
        self.log = types.SimpleNamespace(info=lambda _said: None)


def _dagster(made: list[tuple[str, str | None]]) -> types.ModuleType:
    """Dagster's names, as the page uses them."""
    module = types.ModuleType("dagster")

    def job(function: Callable[[], None]) -> Callable[[], None]:
        function()
        return function

    named: dict[str, Any] = {
        "op": lambda *, retry_policy, ins=None: lambda function: _Op(function, made),
        "job": job,
        "RetryPolicy": lambda *, max_retries, delay: (max_retries, delay),
        "ScheduleDefinition": lambda *, job, cron_schedule, execution_timezone: (job, cron_schedule),
        "Definitions": lambda *, schedules: schedules,
        "In": lambda kind: kind,
        **dict.fromkeys(("Nothing", "OpExecutionContext"), None),
        "Failure": _Failure,
    }
    for name, value in named.items():
        setattr(module, name, value)
    return module


def test_dagsters_ops_run_commands_that_there_are_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nightreel_dagster.py"
    file.write_text(DAGSTER, encoding="utf-8")
    if importlib.util.find_spec("dagster") is not None:
        found = runpy.run_path(str(file))["defs"].resolve_job_def("nightreel_night")
        assert {node.name for node in found.nodes} == {"night", "status", "export"}
        return
    made: list[tuple[str, str | None]] = []
    monkeypatch.setitem(sys.modules, "dagster", _dagster(made))
    names: dict[str, Any] = {}
    exec(compile(DAGSTER, str(file), "exec"), names)
    assert made == [("night", None), ("status", "night"), ("export", "status")]
    asked: list[list[str]] = []
    for code, again in ((0, None), (2, False), (1, True), (3, True)):

        def run(command: list[str], *_: Any, code: int = code, **__: Any) -> subprocess.CompletedProcess[str]:
            asked.append(command)
            return subprocess.CompletedProcess((), code, stdout="")

        monkeypatch.setattr(subprocess, "run", run)
        for op in ("night", "status", "export"):
            if again is None:
                names[op].function(_Context())
                continue
            with pytest.raises(_Failure) as failed:
                names[op].function(_Context())
            assert failed.value.allow_retries is again
    known = {" ".join(typed.split()[:2]) for typed, _ in COMMANDS}
    assert {" ".join(command[:2]) for command in asked} <= known


@pytest.mark.parametrize(("typed", "command"), COMMANDS, ids=[typed for typed, _ in COMMANDS])
def test_every_command_speaks_json_but_those_that_the_page_names(typed: str, command: Command) -> None:
    if hasattr(command, "commands"):  # a group
        return
    options = {option for parameter in command.params for option in parameter.opts}
    (named,) = re.findall(r"Only (.*?) lack it", PAGE, flags=re.DOTALL)
    without = set(re.findall(r"`(\w+)`", named))
    assert ("--json" in options) != (typed.split()[1] in without)


def test_a_step_says_in_json_what_it_did_and_the_same_again_that_it_was_skipped(
    tmp_path: Path, nightreel: Nightreel
) -> None:
    RawLog().write(tmp_path / "raw")
    said = []
    for _ in range(2):
        done = nightreel("ingest", "--json", home=tmp_path, NIGHTREEL_DATA_MAX_REJECT_SHARE="1")
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        said.append(json.loads(line))
    assert [one["skipped"] for one in said] == [False, True]
    assert said[0].keys() == {"step", "skipped", "seconds", "read", "wrote", "summary"}


def test_commands_of_the_table_speak_json_too(tmp_path: Path, nightreel: Nightreel) -> None:
    from nightreel.core.settings import Settings

    publish_small_lists(Settings.model_validate({"home": tmp_path}), (1, 2))
    for arguments, key in (
        (("runs",), None),
        (("rollback", "1"), "shown_before"),
        (("db", "upgrade"), "version"),
        (("export", str(tmp_path / "lists.jsonl")), "summary"),
    ):
        done = nightreel(*arguments, "--json", home=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert key is None or key in found
