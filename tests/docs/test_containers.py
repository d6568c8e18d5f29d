"""The container's files, as far as they can be checked without a Docker engine; docker/prove.py runs them."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def test_hadolint_passes() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("no hadolint for this machine: it comes for Linux on x86_64 only")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_compose_reads_its_file() -> None:
    command = _compose()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is here: `apt-get install docker-compose`")
    file = ["-f", DOCKER / "compose.yaml", "config"]
    for raw in ({}, {"RAW_DIR": "/srv/kuairec"}):
        environment = os.environ | raw
        done = subprocess.run(
            [*command, *file], capture_output=True, text=True, check=False, env=environment, timeout=60
        )
        assert done.returncode == 0, done.stderr
        read = yaml.safe_load(done.stdout)
        assert set(read["services"]) == {"postgres", "first-list", "scheduler", "browse", "feast-ui"}
        assert ("/srv/kuairec" in done.stdout) == bool(raw)


def _compose() -> list[str] | None:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    docker = shutil.which("docker")
    if (
        docker
        and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    ):
        return ["docker", "compose"]
    return None


def test_every_service_is_gated_on_the_health_of_what_it_needs() -> None:
    services = COMPOSE["services"]
    conditions = {
        name: {needed: how["condition"] for needed, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    assert conditions["postgres"] == {}
    assert conditions["first-list"] == {"postgres": "service_healthy"}
    assert conditions["scheduler"]["first-list"] == "service_completed_successfully"
    assert conditions["browse"] == conditions["feast-ui"] == {"scheduler": "service_healthy"}
    assert "healthcheck" in services["postgres"]
    assert all("restart" in service for service in services.values())


def test_ports_lead_to_this_machine_only_and_no_secret_stands_in_the_environment() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        for variable, value in service.get("environment", {}).items():
            assert "PASSWORD" not in variable or variable.endswith("_FILE"), variable
            assert "@" not in str(value) or ":" not in str(value).split("//")[1].split("@")[0], variable


def test_the_image_has_every_package_pinned_and_runs_as_nobody_special() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for package in [*packages, "feast_asof"]:
        assert f"COPY {package} {package}\n" in DOCKERFILE
        assert f"!{package}" in ignore
    assert "--require-hashes -r requirements.lock" in DOCKERFILE
    assert "--no-deps --no-build-isolation ./feast_asof . " in DOCKERFILE
    assert re.search(r"^USER 10001", DOCKERFILE, flags=re.MULTILINE)
    assert re.search(r'HEALTHCHECK .*"status"\]', DOCKERFILE)
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE):
        assert all((ROOT / name).exists() for name in source.split()), source


def test_the_entrypoint_takes_secrets_from_files(tmp_path: Path) -> None:
    secret = 'it\'s 100 %/ a: "secret" $HOME'
    (tmp_path / "secret").write_text(secret + "\n")
    fake = tmp_path / "nightreel"
    fake.write_text('#!/bin/sh\nprintf "%s|%s|%s" "$PGPASSWORD" "${PGPASSWORD_FILE:-none}" "$*"\n')
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PGPASSWORD_FILE": str(tmp_path / "secret")}
    done = subprocess.run(
        [DOCKER / "entrypoint.sh", "status", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout == f"{secret}|none|status --json"


@pytest.mark.parametrize(("raw_dir", "said"), [("", ["synthesize", "run"]), ("/srv/theirs", ["run"])])
def test_demo_data_never_goes_into_a_folder_of_the_users(
    raw_dir: str, said: list[str], tmp_path: Path
) -> None:
    fake = tmp_path / "nightreel"
    fake.write_text("#!/bin/sh\necho $1\n")
    fake.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "NIGHTREEL_HOME": str(tmp_path),
        "NIGHTREEL_DATA_RAW_DIR": str(tmp_path / "raw"),
        "RAW_DIR_ON_HOST": raw_dir,
    }
    done = subprocess.run(
        [DOCKER / "entrypoint.sh", "first-list"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == said
