"""What the table's rows become: an environment file and a drop-in for each exporter that is enabled."""

from __future__ import annotations

from typing import Any

import pytest
import yaml


def files(make_role: Any, **variables: Any) -> dict[str, dict[str, str]]:
    """Return the files of the enabled rows, by path."""
    listed = yaml.safe_load(make_role("exporters", **variables).render("files.yml.j2"))
    return {file["path"]: file for file in listed}


def arguments(make_role: Any, unit: str, **variables: Any) -> str:
    """Return the line of arguments of a unit."""
    lines = files(make_role, **variables)[f"/etc/default/{unit}"]["content"].splitlines()
    return next(line for line in lines if line.startswith("ARGS="))


ALL = ["node", "nginx", "postgres"]


def test_the_machine_alone_is_measured_by_default(make_role: Any) -> None:
    """An exporter whose service is not here would only make noise."""
    assert set(files(make_role)) == {
        "/etc/default/prometheus-node-exporter",
        "/etc/systemd/system/prometheus-node-exporter.service.d/restart.conf",
    }


@pytest.mark.parametrize("unit", ["node", "nginx", "postgres"])
def test_every_exporter_listens_on_loopback(make_role: Any, unit: str) -> None:
    """Nobody outside learns what the machine does."""
    line = arguments(make_role, f"prometheus-{unit}-exporter", exporters_enabled=ALL)
    assert "--web.listen-address=127.0.0.1:" in line


@pytest.mark.parametrize("unit", ["node", "nginx", "postgres"])
def test_every_exporter_comes_back_for_ever(make_role: Any, unit: str) -> None:
    """Debian's five tries within a second are over before Nginx is back from an upgrade."""
    path = f"/etc/systemd/system/prometheus-{unit}-exporter.service.d/restart.conf"
    content = files(make_role, exporters_enabled=ALL)[path]["content"]
    assert "StartLimitIntervalSec=0\n" in content
    assert "Restart=always\n" in content


def test_postgresql_is_asked_without_a_password(make_role: Any) -> None:
    """The socket knows who asks, so there is no secret to keep."""
    file = files(make_role, exporters_enabled=ALL)["/etc/default/prometheus-postgres-exporter"]
    assert "DATA_SOURCE_NAME='user=prometheus host=/run/postgresql dbname=postgres'\n" in file["content"]
    assert (file["owner"], file["mode"]) == ("prometheus", "0640")


def test_arguments_of_the_inventory_are_added(make_role: Any) -> None:
    """A collector can be switched on for one exporter, and the others keep their arguments."""
    more = {"node": ["--collector.systemd"]}
    variables = {"exporters_enabled": ALL, "exporters_arguments": more}
    assert arguments(make_role, "prometheus-node-exporter", **variables).endswith(" --collector.systemd'")
    assert "systemd" not in arguments(make_role, "prometheus-nginx-exporter", **variables)


def test_check_mode_knows_what_is_not_there_yet(make_role: Any) -> None:
    """Only the units of packages that apt would install are left out."""
    announced = {"stdout": "Reading\nInst prometheus-nginx-exporter (1.4 Debian)\nConf x\n"}
    checked = make_role("exporters", ansible_check_mode=True, __exporters_packages=announced)
    assert checked.value("__exporters_missing") == ["prometheus-nginx-exporter"]
    assert make_role("exporters", __exporters_packages=announced).value("__exporters_missing") == []


def test_every_row_can_be_enabled(make_role: Any) -> None:
    """The specs allow the names of the table, and no others."""
    role = make_role("exporters")
    specs = yaml.safe_load((role.path / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    assert specs["exporters_enabled"]["choices"] == [row["name"] for row in role.value("__exporters_table")]
