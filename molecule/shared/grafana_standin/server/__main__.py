"""The `grafana` command of the stand-in: `grafana server` and `grafana cli admin reset-admin-password`."""

import argparse
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from .. import VERSION
from . import provisioning, settings
from .accounts import AccountError, Accounts
from .api import Application, Server
from .provisioning import ProvisioningError
from .settings import SettingsError


def main(arguments: list[str] | None = None) -> int:
    """Run the command; a configuration that cannot be used ends it with 1 and one line per problem."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "server":
            return _serve(options)
        return _reset_password(options)
    except (SettingsError, ProvisioningError, AccountError, OSError) as error:
        for line in str(error).splitlines():
            print(f"stand-in for Grafana: error: {line}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grafana", description=__doc__)
    version = f"grafana version {VERSION} (a stand-in, not Grafana)"
    parser.add_argument("-v", "--version", action="version", version=version)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--homepath")
    common.add_argument("--config", type=Path, default=Path("/etc/grafana/grafana.ini"))
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("server", parents=[common])
    server.add_argument("-v", "--version", action="version", version=version)
    server.add_argument("--pidfile", type=Path)
    server.add_argument("--packaging")
    server.add_argument("overrides", nargs="*", metavar="cfg:section.key=value")
    cli = commands.add_parser("cli", parents=[common])
    cli.add_argument("--configOverrides", default="", dest="overrides", type=shlex.split)
    cli.add_argument("--pluginsDir")
    admin = cli.add_subparsers(dest="group", required=True).add_parser("admin")
    reset = admin.add_subparsers(dest="action", required=True).add_parser("reset-admin-password")
    reset.add_argument("--password-from-stdin", action="store_true", required=True)
    return parser


def _serve(options: argparse.Namespace) -> int:
    configured = settings.load(options.config, options.overrides)
    provisioned = provisioning.load(configured.provisioning)
    accounts = Accounts(configured.data / "grafana.db")
    accounts.create_admin(configured.admin_user, configured.admin_password)
    server = Server(Application(configured, accounts, provisioned))
    if options.pidfile:
        options.pidfile.write_text(str(os.getpid()))
    print(
        f"This is a stand-in for Grafana ({VERSION}). {len(provisioned.datasources)} datasources and "
        f"{len(provisioned.dashboards)} dashboards, http://{configured.http_addr}:{configured.http_port}/",
        flush=True,
    )
    signal.signal(signal.SIGTERM, _leave)
    _notify("READY=1")
    try:
        server.serve_forever()
    finally:
        server.server_close()
    return 0


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _reset_password(options: argparse.Namespace) -> int:
    configured = settings.load(options.config, options.overrides)
    accounts = Accounts(configured.data / "grafana.db")
    accounts.reset_password(sys.stdin.readline().rstrip("\n"))
    print("Admin password changed successfully")
    return 0


def _notify(state: str) -> None:
    """Tell systemd, when it asks (`Type=notify`)."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            connection.send(state.encode())


if __name__ == "__main__":
    sys.exit(main())
