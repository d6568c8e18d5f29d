"""Serves the pages and the API until it is stopped, in one process or in several on the same socket."""

import multiprocessing
import signal
import socket
from ipaddress import ip_address
from multiprocessing.connection import wait

from nightreel.core.errors import BusyError, InputError, NightreelError
from nightreel.core.settings.needs import BrowseNeeds

_OF_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]", "::1")


def serve(settings: BrowseNeeds, host: str, port: int, *, workers: int = 1) -> None:
    """Serve on this address until SIGINT or SIGTERM; port 0 picks any free one.

    Raises:
        BusyError: the port is taken.
        InputError: the address is not this machine's, or other machines can reach it and no password is set.
    """
    listening = _listen(host, port)
    address, port = listening.getsockname()[:2]
    is_local = ip_address(address.partition("%")[0]).is_loopback
    if not is_local and settings.browse.password is None:
        listening.close()
        raise InputError(
            f"--host {host}: others could read every user's list, and there is no password.",
            "Set NIGHTREEL_BROWSE_PASSWORD, or serve only this machine and use a tunnel "
            f"(`ssh -L {port}:127.0.0.1:{port} HOST`).",
        )
    hosts = (*_OF_THIS_MACHINE, address) if is_local else ("*",)
    print(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)", flush=True)
    if not is_local:
        print(
            "The password goes over the network as it is: put TLS before this, or trust the network.",
            flush=True,
        )
    if workers == 1:
        _work(settings, hosts, listening)
    else:
        _work_in_processes(settings, hosts, listening, workers)


def _work(settings: BrowseNeeds, hosts: tuple[str, ...], listening: socket.socket) -> None:
    # These imports take seconds, so they come after all checks; a parent of serving processes needs none.
    import uvicorn

    from nightreel.browse.app import make_app

    configuration = uvicorn.Config(
        make_app(settings, hosts=hosts),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
    )
    uvicorn.Server(configuration).run(sockets=[listening])
    # It returns only when SIGINT ended it. The event loop should then raise this itself; under load it
    # sometimes does not.
    raise KeyboardInterrupt


def _work_in_processes(
    settings: BrowseNeeds, hosts: tuple[str, ...], listening: socket.socket, workers: int
) -> None:
    """Processes that share the socket; all end when this one is stopped, or when one of them ends."""
    # Spawned, not forked: threads of polars may run here already.
    context = multiprocessing.get_context("spawn")
    # An orderly end at SIGTERM too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    processes = [context.Process(target=_work, args=(settings, hosts, listening)) for _ in range(workers)]
    try:
        for process in processes:
            process.start()
        wait([process.sentinel for process in processes])
    finally:
        for process in processes:
            if process.pid is not None:
                process.terminate()
                process.join()
    raise NightreelError(
        "A serving process ended unexpectedly.", "See what it printed before, then serve again."
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror:
        raise InputError(
            f"--host {host}: no such address.", "Use 127.0.0.1, or an address of this machine."
        ) from None
    except OSError as error:
        raise BusyError(
            f"{host}, port {port}: {error.strerror}.", "Choose another with --port; 0 takes any that is free."
        ) from None
