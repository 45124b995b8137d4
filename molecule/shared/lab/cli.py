"""The lab's command line."""

import argparse
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from lab import inventory, lifecycle, machine, paths, services, ssh, state
from lab.errors import LabError
from lab.machines import SUITES, Machine, load
from lab.steps import Steps, note

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")


def main(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.run
    try:
        command(arguments)
    except LabError as error:
        sys.stdout.flush()
        sys.stderr.write(f"lab: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("lab: interrupted\n")
        return 130
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"'{text}' cannot name a lab: small letters, digits, dashes and underscores can"
        )
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bin/lab", description="Debian machines to try fastapi-metal on.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], about: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(run=run)
        return sub

    sub = command("up", _up, "make a lab (an old one of that name is taken down) and wait for its machines")
    sub.add_argument("name", type=_name)
    sub.add_argument("--machines", type=Path, required=True, metavar="FILE", help="YAML list of machines")
    sub = command("down", _down, "remove every trace of a lab")
    sub.add_argument("name", type=_name, nargs="?")
    sub.add_argument("--all", action="store_true", help="of every lab of this checkout")
    sub.add_argument("--if-up", action="store_true", help="say nothing if there is no such lab")
    sub = command("images", _images, "build the base images that are not there yet")
    sub.add_argument("suites", nargs="*", choices=[*SUITES, []], metavar="SUITE", help="trixie or bookworm")
    command("list", _list, "show the labs there are")
    command("reap", _reap, "remove the labs that dead or interrupted runs left")
    sub = command("info", _info, "print what there is to know about a lab, as JSON")
    sub.add_argument("name", type=_name)
    sub = command("inventory", _inventory, "print a lab as a dynamic inventory of Ansible")
    sub.add_argument("name", type=_name)
    sub.add_argument("--list", action="store_true")
    sub.add_argument("--host", metavar="MACHINE")
    sub.add_argument("--directory", metavar="DIRECTORY", help="the inventory's, for inventory_dir")
    sub.add_argument("--if-up", action="store_true", help="print an empty one if there is no such lab")
    sub = command("ssh", _ssh, "log in to a machine, or run a command on it")
    _machine_arguments(sub)
    sub.add_argument("command", nargs=argparse.REMAINDER)
    for name, about in (
        ("reboot", "reboot a machine and wait for it"),
        ("stop", "shut a machine down"),
        ("start", "boot a machine that is off and wait for it"),
        ("kill", "cut a machine's power"),
    ):
        _machine_arguments(command(name, _power, about))
        commands.choices[name].set_defaults(action=name)
    sub = command("acme", _acme, "take the lab's ACME server down, or put it up again")
    sub.add_argument("name", type=_name, metavar="LAB")
    sub.add_argument("state", choices=["stop", "start"])
    sub = command("memory", _memory, "limit a machine's memory")
    _machine_arguments(sub)
    sub.add_argument("amount", metavar="AMOUNT", help="for example 3G or 512M")
    sub = command("snapshot", _snapshot, "keep the disk of a stopped machine, to start others from it")
    _machine_arguments(sub)
    sub.add_argument("snapshot", type=_name)
    return parser


def _machine_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", type=_name, metavar="LAB")
    parser.add_argument("machine", metavar="MACHINE")


def _up(arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    machines = load(arguments.machines)
    lab = lifecycle.up(arguments.name, machines, state.owner_from_environment())
    addresses = ", ".join(f"{entry.name} {lab.address(entry.name)}" for entry in lab.machines)
    note(f"The lab '{lab.name}' is up after {time.monotonic() - began:.1f} s: {addresses}")


def _down(arguments: argparse.Namespace) -> None:
    if arguments.all == (arguments.name is not None):
        raise LabError("say which lab: `bin/lab down NAME`, or `bin/lab down --all`")
    lifecycle.require_host([])
    mine = [key.rpartition(".")[0] for key in state.all_keys()]
    mine = [name for name in mine if paths.key(name) in state.all_keys()]
    for name in mine if arguments.all else [arguments.name]:
        if arguments.if_up and name not in mine:
            continue
        lifecycle.down(name)
        note(f"The lab '{name}' is gone")


def _images(arguments: argparse.Namespace) -> None:
    suites = arguments.suites or list(SUITES)
    lifecycle.require_host([])
    lifecycle.images(Steps(len(suites)), suites)


def _list(_arguments: argparse.Namespace) -> None:
    for key in state.all_keys():
        lab = state.load(key)
        if lab is None:
            note(f"{key}: half made, `bin/lab reap` removes it")
            continue
        machines = " ".join(
            f"{entry.name}={lab.address(entry.name)}{'' if machine.is_running(lab, entry) else '(off)'}"
            for entry in lab.machines
        )
        owner = f", owner {lab.owner.pid}" if lab.owner else ""
        owner += "" if lab.project == str(paths.PROJECT) else f", of {lab.project}"
        note(f"{lab.name}: {lab.dead() or 'up'}{owner}, {lab.slot.subnet}: {machines}")


def _reap(_arguments: argparse.Namespace) -> None:
    lifecycle.require_host([])
    if not lifecycle.reap():
        note("nothing to remove")


def _info(arguments: argparse.Namespace) -> None:
    note(json.dumps(inventory.info(state.running(arguments.name)), indent=2))


def _inventory(arguments: argparse.Namespace) -> None:
    if arguments.if_up and state.load(paths.key(arguments.name)) is None:
        note('{"_meta": {"hostvars": {}}}')
        return
    found = inventory.ansible(state.running(arguments.name), arguments.directory)
    note(
        json.dumps(found["_meta"]["hostvars"].get(arguments.host, {}) if arguments.host else found, indent=2)
    )


def _ssh(arguments: argparse.Namespace) -> None:
    lab = state.running(arguments.name)
    machine.need_running(lab, lab.machine(arguments.machine))
    argv = ssh.command(lab, arguments.machine, arguments.command)
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is wanted


def _power(arguments: argparse.Namespace) -> None:
    action: Callable[[state.Lab, Machine], None] = getattr(machine, arguments.action)
    began = time.monotonic()
    with state.locked(arguments.name):
        lab = state.running(arguments.name)
        action(lab, lab.machine(arguments.machine))
    note(f"{arguments.action} {arguments.machine}: done in {time.monotonic() - began:.1f} s")


def _acme(arguments: argparse.Namespace) -> None:
    with state.locked(arguments.name):
        lab = state.running(arguments.name)
        if arguments.state == "stop":
            services.stop(lab, "pebble")
        else:
            services.start_acme(lab)
    note(f"the ACME server of '{lab.name}': {arguments.state}")


def _memory(arguments: argparse.Namespace) -> None:
    with state.locked(arguments.name):
        lab = state.running(arguments.name)
        machine.set_memory(lab, lab.machine(arguments.machine), arguments.amount)
    note(f"{arguments.machine} has {arguments.amount} of memory from now on")


def _snapshot(arguments: argparse.Namespace) -> None:
    with state.locked(arguments.name):
        lab = state.running(arguments.name)
        where = machine.snapshot(lab, lab.machine(arguments.machine), arguments.snapshot)
    note(f"kept in {where}")
