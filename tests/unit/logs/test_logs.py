"""An application's lines over the fleet: what may be asked, what is read, how it is shown."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fleet_view.logs.asked import AskedError, asked
from fleet_view.logs.shown import merged, told


def load() -> ModuleType:
    """Load the module as Ansible would find it."""
    file = Path(__file__).resolve().parents[3] / "plugins/modules/journal_lines.py"
    spec = importlib.util.spec_from_file_location("journal_lines", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


journal_lines = load()
APPS = ["shop", "blog"]
EVERYTHING = {"lines": 100, "since": "", "priority": 7, "request_id": "", "directory": None}


def record(message: Any, time: int = 1, **fields: Any) -> str:
    """Return a record as journalctl prints it."""
    return json.dumps({"MESSAGE": message, "__REALTIME_TIMESTAMP": str(time), "PRIORITY": "6", **fields})


def test_an_application_is_enough() -> None:
    """The last hundred lines, whatever they say."""
    found = asked({"app": "shop"}, APPS)
    assert found == {"identifier": "shop", "lines": 100, "since": "", "priority": 7, "request_id": ""}


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"since": "2h"}, "since", "-2h"),
        ({"since": "-10min"}, "since", "-10min"),
        ({"since": "3 days ago"}, "since", "-3days"),
        ({"since": "2026-11-22T14:30"}, "since", "2026-11-22 14:30"),
        ({"since": "yesterday"}, "since", "yesterday"),
        ({"priority": "error"}, "priority", 3),
        ({"priority": "4"}, "priority", 4),
        ({"lines": "5"}, "lines", 5),
        ({"request_id": "3f9c-1a.2"}, "request_id", "3f9c-1a.2"),
    ],
)
def test_what_people_say_is_understood(given: dict[str, Any], name: str, value: Any) -> None:
    """Spans, moments, names of levels."""
    assert asked({"app": "shop", **given}, APPS)[name] == value


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"app": ""}, "say whose lines to show, one of: blog, shop, as in -e app=blog"),
        ({"app": "sohp"}, "app is sohp, which group_vars/all/apps.yml does not name; use one of: blog, shop"),
        ({"lines": "many"}, "lines is many; say how many, from 1 to 100000, as in -e lines=200"),
        ({"lines": 0}, "lines is 0;"),
        ({"lines": "1000000"}, "lines is 1000000;"),
        ({"since": "soon"}, "since is soon; say a span or a time"),
        ({"since": "--boot"}, "since is --boot;"),
        ({"priority": "loud"}, "priority is loud; use one of: emerg, alert, crit, err"),
        ({"priority": "8"}, "priority is 8;"),
        ({"request_id": "a b"}, "request_id is a b;"),
        ({"request_id": "]"}, "request_id is ];"),
    ],
)
def test_the_rest_is_refused_in_one_sentence(given: dict[str, Any], words: str) -> None:
    """It names the variable, what it is, and a value that works."""
    with pytest.raises(AskedError) as refusal:
        asked({"app": "shop", **given}, APPS)
    assert str(refusal.value).startswith(words)
    assert "\n" not in str(refusal.value)


def test_without_applications_nobody_can_be_asked() -> None:
    """An empty inventory is a sentence, too."""
    with pytest.raises(AskedError, match="names no application"):
        asked({"app": "shop"}, [])


def test_the_newest_lines_are_read_oldest_first() -> None:
    """No more of the journal is read than is asked for."""
    read = []

    def journal() -> Any:
        for number in (5, 4, 3, 2, 1):
            read.append(number)
            yield record(f"line {number}", number)

    found = journal_lines.chosen(journal(), {**EVERYTHING, "lines": 2})
    assert [line["text"] for line in found] == ["line 4", "line 5"]
    assert len(read) <= 3


def test_the_level_of_a_json_line_counts() -> None:
    """The journal takes all that is printed as info."""
    records = [
        record('{"level": "error", "message": "a"}', 3),
        record('{"level": "info", "message": "b"}', 2),
        record("plain", 1, PRIORITY="3"),
    ]
    found = journal_lines.chosen(iter(records), {**EVERYTHING, "priority": 3})
    assert [line["time"] for line in found] == [1, 3]


@pytest.mark.parametrize(
    ("message", "text"),
    [([104, 105, 255], "hi\ufffd"), (None, ""), ("{no json", "{no json"), ('["level"]', '["level"]')],
)
def test_whatever_was_said_is_shown(message: Any, text: str) -> None:
    """Bytes, nothing, and what only looks like JSON."""
    assert journal_lines.row(json.loads(record(message)))["text"] == text


def test_a_request_id_is_searched_for_letter_by_letter() -> None:
    """`--grep` reads a pattern; a dot in an id is a dot."""
    argv = journal_lines.command({"identifier": "shop", **EVERYTHING, "request_id": "a.b"})
    assert argv[argv.index("--grep") + 1] == "[a][.][b]"


def test_lines_of_all_machines_are_in_order() -> None:
    """By time, whichever machine said them, with its name; the newest of all are kept."""
    lines = {
        "web10": [
            {"time": 1_000_000, "priority": 6, "text": "one"},
            {"time": 3_000_000, "priority": 3, "text": "three"},
        ],
        "web2": [{"time": 2_000_000, "priority": 6, "text": "two"}],
    }
    assert merged(lines, 2) == [
        "1970-01-01 00:00:02.000  web2   info     two",
        "1970-01-01 00:00:03.000  web10  err      three",
    ]
    assert len(merged(lines, 10)) == 3
    assert merged({}, 10) == []


def test_json_is_shown_for_readers() -> None:
    """Level and message first, what else there is behind; time and level stand in their own places."""
    text = (
        '{"time": "t", "level": "info", "message": "GET /", "status": 200, "request_id": "r", "tags": ["a"]}'
    )
    assert told({"priority": 6, "text": text}) == 'info     GET /  status=200  request_id=r  tags=["a"]'
    assert told({"priority": 4, "text": "{broken"}) == "warning  {broken"
