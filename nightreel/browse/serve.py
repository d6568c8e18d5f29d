"""Serves the page until it is stopped."""

import socket

import uvicorn

from nightreel.browse.app import make_app
from nightreel.core.errors import BusyError, InputError
from nightreel.core.settings import Settings

_OF_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]", "::1")


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve on this address until SIGINT or SIGTERM; port 0: any that is free.

    Raises BusyError where the port is taken, InputError where the address is not this machine's.
    """
    listening = _listen(host, port)
    port = listening.getsockname()[1]
    is_local = host in _OF_THIS_MACHINE
    app = make_app(settings, hosts=_OF_THIS_MACHINE if is_local else ("*",))
    print(f"http://{f'[{host}]' if ':' in host else host}:{port} (Ctrl-C ends it)", flush=True)
    if not is_local:
        print("Whoever reaches this address can read every user's list: there is no login.", flush=True)
    configuration = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none"
    )
    uvicorn.Server(configuration).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror:
        raise InputError(
            f"--host {host}: no such address.", "Use 127.0.0.1, or one of this machine."
        ) from None
    except OSError as error:
        raise BusyError(
            f"{host}, port {port}: {error.strerror}.", "Choose another with --port; 0 takes any that is free."
        ) from None
