"""The command line: `likewise …`, or `python -m app …`."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import logging
import resource
import socket
import ssl
import sys
from typing import Annotated, Any

import typer
import uvicorn
from rich.console import Console

from app import log
from app.cli import keys, models, transfer
from app.cli.evaluation import commands as evaluation
from app.cli.snapshots import snapshot_cli
from app.config import Settings, WrongSetting, read_settings, settings_table, unknown_variables
from app.errors import LikewiseError

cli = typer.Typer(
    name="likewise",
    help="Vector search in one container.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cli.add_typer(models.cli, name="models")
cli.add_typer(snapshot_cli, name="snapshot")
cli.add_typer(keys.cli, name="keys")
cli.add_typer(evaluation.cli, name="eval")
cli.command("import")(transfer.import_points)
cli.command("export")(transfer.export_points)

logger = logging.getLogger("likewise")


def main() -> None:
    """Run the command line; errors an operator can act on end with one line and status 1."""
    try:
        cli()
    except WrongSetting as error:
        for line in error.lines:
            _complain(line)
        sys.exit(2)
    except LikewiseError as error:
        _complain(error.detail)
        sys.exit(1)


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Instead of LIKEWISE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Instead of LIKEWISE_PORT.")] = None,
) -> None:
    """Serve the HTTP API until SIGINT or SIGTERM, then finish what was accepted."""
    from app.api.app import create_app, open_backend, open_encoders, open_guard, open_tracing
    from app.api.server import GRACE_S, Server, connections_of, protocol

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = read_settings(**given)
    log.set_up(settings.log_level, settings.log_format, values=settings.log_values)
    for name in unknown_variables():
        logger.warning("%s is set, but there is no such setting", name)
    _allow_many_files()
    # Threads that want the interpreter wait this long for one that computes. With 5 ms, Python's
    # default, queries beside a bulk upsert had a p50 of 5.8 ms; with this 5.0, and as many upserts.
    sys.setswitchinterval(0.0005)
    guard = open_guard(settings)
    tls = _tls(settings)
    # Bound early: nothing else is worth doing if another process has the port.
    guarded = guard is not None or settings.allow_anonymous
    listener = _bound(settings.host, settings.port, guarded=guarded)
    if guard is None and not _is_own(listener.getsockname()[0]):
        logger.warning("without keys, whoever reaches this port may do everything")
    # The first query would compile them: a minute of one core, once on a machine.
    _warm()
    # Opened here, so that a directory in use or a damaged file is one line and not a traceback.
    encoders = open_encoders(settings)
    tracing = open_tracing(settings)
    app = create_app(
        settings,
        backend=open_backend(settings),
        encoders=encoders,
        guard=guard,
        tracing=tracing,
    )
    connections = connections_of(settings, app.state.requests)
    config = uvicorn.Config(
        app,
        http=protocol(connections),
        ws="none",
        host=settings.host,
        port=settings.port,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=settings.idle_timeout,
        timeout_graceful_shutdown=GRACE_S,
        **tls,
    )
    # What is there now stays: without this, the collector looked through all of it three times
    # in the first thousands of requests, 50 ms and more each.
    gc.collect()
    gc.freeze()
    Server(config, connections, begin_stop=lambda: app.state.service.begin_stop()).run(
        sockets=[listener]
    )


@cli.command("settings")
def show_settings(
    markdown: Annotated[bool, typer.Option(help="All settings as docs/settings.md.")] = False,
) -> None:
    """Print the settings in force, or their documentation."""
    if markdown:
        typer.echo(settings_table(), nl=False)
        return
    for name, value in read_settings():
        typer.echo(f"LIKEWISE_{name.upper()}={'' if value is None else value}")


@cli.command("metrics")
def show_metrics() -> None:
    """Print the table of all metrics, as docs/operations.md has it."""
    from app.metrics.families import metrics_table

    typer.echo(metrics_table(), nl=False)


@cli.command()
def warm() -> None:
    """Compile the kernels once, so that a later start finds them compiled."""
    _warm()
    typer.echo("kernels are compiled")


@cli.command()
def openapi() -> None:
    """Print the OpenAPI document."""
    import orjson

    from app.api.app import create_app

    document = create_app(read_settings()).openapi()
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def _warm() -> None:
    from app.kernels import warm as warm_kernels

    with Console(stderr=True).status("compiling kernels"):
        warm_kernels()


def _bound(host: str, port: int, *, guarded: bool) -> socket.socket:
    """Take the address, or say in one line why not.

    guarded   whether strangers may reach it: there are keys or tokens, or nobody is to need them
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        if not (guarded or _is_own(address[0])):
            raise WrongSetting([f"not listening on {host} without keys: {_WHAT_HELPS}"])
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WrongSetting([f"cannot listen on {host}:{port}: {reason}"]) from error
    return listener


def _is_own(address: str | int) -> bool:
    """Whether an address can be reached from this machine only."""
    return ipaddress.ip_address(address).is_loopback


_WHAT_HELPS = (
    "set LIKEWISE_API_KEY or LIKEWISE_KEYS_FILE, or let everybody in who reaches this port with "
    "LIKEWISE_ALLOW_ANONYMOUS=true"
)


def _tls(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told of TLS; nothing if there is no certificate. Raises WrongSetting."""
    if settings.tls_cert is None:
        if settings.tls_key or settings.tls_client_ca:
            raise WrongSetting(["LIKEWISE_TLS_CERT: expected a certificate beside the key or CA"])
        return {}
    secret = settings.tls_key_password
    password = None if secret is None else secret.get_secret_value()
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A password in any case: without one, OpenSSL would ask the terminal for it.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password or "")
        if settings.tls_client_ca is not None:
            context.load_verify_locations(settings.tls_client_ca)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise WrongSetting([f"LIKEWISE_TLS_…: the files cannot be used: {reason}"]) from error
    return {
        "ssl_certfile": settings.tls_cert,
        "ssl_keyfile": settings.tls_key,
        "ssl_keyfile_password": password,
        "ssl_ca_certs": settings.tls_client_ca and str(settings.tls_client_ca),
        "ssl_cert_reqs": ssl.CERT_REQUIRED if settings.tls_client_ca else ssl.CERT_NONE,
    }


def _allow_many_files() -> None:
    """Raise the soft limit of open files to the hard one: a collection takes a dozen and more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system may refuse what it calls its limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))


def _complain(message: str) -> None:
    typer.echo(f"likewise: {message}", err=True)


if __name__ == "__main__":
    main()
