"""The Ray cluster of `engine = "ray"`: joined where its address is set, else started on this machine.

Ray itself is imported only where a cluster is asked for.
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from nightreel.core.environment import ENVIRONMENT
from nightreel.core.errors import InputError, NightreelError
from nightreel.core.extras import require_ray
from nightreel.core.settings import ClusterSettings

Result = TypeVar("Result")

_CAUSES_MAX = 20
_CONNECT_TIMEOUT_S = 5.0
_REMEDY = "Check the setting [cluster] ray_address, and that `ray status` answers there."


@contextmanager
def connected(settings: ClusterSettings) -> Iterator[None]:
    """Stay connected to the cluster until the block ends; an existing connection of this process is kept.

    Raises:
        InputError: Ray is missing.
        NightreelError: the cluster cannot be reached, or a task failed because of it. If a task raised an
            error itself, that error is raised.
    """
    require_ray()
    _require_address(settings.ray_address)
    import ray
    from ray.exceptions import RayError

    mine = not ray.is_initialized()
    if mine:
        _join(settings)
    _quiet()
    try:
        yield
    except RayError as error:
        raise _plain(error) from error
    finally:
        if mine:
            ray.shutdown()


@contextmanager
def engine(settings: ClusterSettings) -> Iterator[None]:
    """The engine that the settings name, until the block ends; a cluster is joined or started once."""
    if settings.engine == "local":
        yield
        return
    with connected(settings):
        yield


def workers(settings: ClusterSettings) -> int:
    """The best number of pieces for `run_all`: one on the local engine, else one per core."""
    if settings.engine == "local":
        return 1
    with connected(settings):
        return cores()


def run_all(
    settings: ClusterSettings, function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]
) -> list[Result]:
    """The function's result for each tuple of arguments, in order: computed here, or as tasks of the cluster.

    Args:
        function: defined at module level; every node must be able to read its inputs.
    """
    return list(run_each(settings, function, arguments, ahead=len(arguments)))


def run_each(
    settings: ClusterSettings,
    function: Callable[..., Result],
    arguments: Iterable[tuple[Any, ...]],
    *,
    ahead: int | None = None,
) -> Iterator[Result]:
    """The results of `run_all`, one after the other, each made when it is asked for.

    Args:
        ahead: how many of them a cluster makes before they are asked for; by default as many as it has cores.
    """
    if settings.engine == "local":
        for these in arguments:
            yield function(*these)
        return
    with connected(settings):
        import ray

        task = ray.remote(function)
        rest = iter(arguments)
        under_way = deque(task.remote(*these) for these in islice(rest, ahead or cores()))
        while under_way:
            found: Result = ray.get(under_way.popleft())
            under_way.extend(task.remote(*these) for these in islice(rest, 1))
            yield found


def _quiet() -> None:
    """Ray Data logs and draws its own progress; ours is enough."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def cores() -> int:
    """Number of cores of the connected cluster, at least 1."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def cores_of_nodes() -> dict[str, int]:
    """Whole cores of each node of the connected cluster that has one, by Ray's id of the node."""
    import ray

    cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    return {node: count for node, count in cores.items() if count}


def _join(settings: ClusterSettings) -> None:
    # A Ray that is started here sends no usage statistics.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    address = settings.ray_address
    if address is not None and address != "auto":
        _require_listener(address)
    try:
        ray.init(
            # Without an address Ray would look for a cluster by itself.
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            runtime_env=worker_environment(),
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise NightreelError(f"Ray cluster {address or 'on this machine'}: {said}.", _REMEDY) from error


def worker_environment() -> dict[str, Any]:
    """Ray's `runtime_env` of every process that works for this one."""
    return {"env_vars": ENVIRONMENT, "worker_process_setup_hook": _without_type_checks}


def _without_type_checks() -> None:
    """In a worker: import Feast without its type checks, as `feature_repo` does."""
    import typeguard

    def unchecked(target: Any = None, **_options: Any) -> Any:
        return (lambda decorated: decorated) if target is None else target

    typeguard.typechecked = unchecked


def _require_address(address: str | None) -> None:
    if address is None or address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(
            f"Setting `ray_address`: {address} is not an address.", "Write it like 10.0.0.5:6379, or auto."
        )


def _require_listener(address: str) -> None:
    """Raise unless something listens there: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise NightreelError(f"Ray cluster {address}: {error.strerror or error}.", _REMEDY) from None


def _plain(error: BaseException) -> NightreelError:
    """The error of our own that caused this one, or else this one in one line."""
    cause: BaseException | None = error
    for _ in range(_CAUSES_MAX):
        if cause is None:
            break
        if type(cause) in _own_kinds(NightreelError):
            assert isinstance(cause, NightreelError)
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return NightreelError(
        f"Ray: {lines[-1].strip().rstrip('.')}.", "`nightreel --debug ...` shows the whole message."
    )


def _own_kinds(kind: type[NightreelError]) -> set[type[NightreelError]]:
    """The classes of an error, without those that Ray creates at run time."""
    below = (_own_kinds(child) for child in kind.__subclasses__() if not child.__module__.startswith("ray."))
    return {kind}.union(*below)
