"""A real Ray cluster of several nodes on this machine, made once in a session."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OBJECT_STORE_BYTES = 200 * 2**20
_HEAD = {
    "include_dashboard": False,
    # Nobody reads its logs on another machine, and it does not grow by itself.
    "include_log_monitor": False,
    "no_monitor": True,
    "_system_config": {
        # Those would be without the runtime environment below, so that nothing is ever given to them.
        "prestart_worker_first_driver": False,
        # A worker takes seconds to import what its tasks need: it stays for the next test's.
        "idle_worker_killing_time_threshold_ms": 120_000,
        "num_workers_soft_limit": 4,
    },
}
_running: list[Any] = []


@contextmanager
def started(nodes: int = 2) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` of nodes of one core each, which this process has joined.

    A process joins one: where it has already, that is the cluster, and who started it ends it.
    """
    if _running:
        yield _running[0]
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=_node() | _HEAD)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**_node())
        cluster.wait_for_nodes()
        ray.init(
            address=cluster.address,
            log_to_driver=False,
            runtime_env={
                "env_vars": {"OPENBLAS_NUM_THREADS": "1"},
                "worker_process_setup_hook": _without_type_checks(),
            },
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        _running.append(cluster)
        yield cluster
    finally:
        _running.clear()
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def one_more_node(cluster: Any) -> Iterator[Any]:
    """A further node, which may be killed: `cluster.remove_node(node, allow_graceful=False)`."""
    node = cluster.add_node(**_node())
    cluster.wait_for_nodes()
    try:
        yield node
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)


def wait_until_busy(node: Any, timeout_s: float = 60) -> None:
    """Return when an actor or a task has the better part of a node's core."""
    from ray._private.state import available_resources_per_node

    end = time.monotonic() + timeout_s
    while available_resources_per_node().get(node.node_id, {}).get("CPU", 0) > 0.5:
        assert time.monotonic() < end, "nothing was placed on the node"
        time.sleep(0.05)


def _without_type_checks() -> Callable[[], None]:
    """What a worker does first: Feast's checks of types take most of its import, which each does anew.

    A function within a function is sent by value, so a worker need not find this module.
    """

    def set_up() -> None:
        import typeguard

        def unchecked(target: Any = None, **_options: Any) -> Any:
            return (lambda decorated: decorated) if target is None else target

        typeguard.typechecked = unchecked

    return set_up


def _node() -> dict[str, Any]:
    return {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
