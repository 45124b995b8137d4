"""An application gets the address of its cache as a secret, and what cannot work is refused before."""

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from engine_fake import ENTRY, Host
from fastapi_metal.apps.cache import address, group, with_address
from fastapi_metal.apps.specs import complete
from fastapi_metal.apps.validation import problems
from fastapi_metal.release.rendering import drop_in
from fastapi_metal.steps import dispatch
from hypothesis import given
from hypothesis import strategies as st

PASSWORD = "correct-horse-battery-staple"  # noqa: S105  # of a test
SOCKET = "unix:///run/valkey/valkey.sock"
KEPT = {"cache": "valkey", "secrets": {"cache_password": PASSWORD, "api_key": "x"}}
ELSEWHERE = {"cache_secret": "REDIS_URL"}
GROUPS = {"web": ["web1"], "cache": ["web1"], "all": ["web1"]}


def entry(**keys: Any) -> dict[str, Any]:
    """Return a completed entry with these keys."""
    return complete({**ENTRY, **keys})


def found(**keys: Any) -> list[str]:
    """Return what is wrong with an application that has these keys."""
    return [plain(text) for text in problems({"shop": {**ENTRY, **keys}}, GROUPS)]


def plain(sentence: str) -> str:
    """Return a sentence without the place that each of them names."""
    return sentence.replace("`", "").replace(" in group_vars/all/apps.yml", "")


@given(password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_password_survives_its_address(password: str) -> None:
    """Whatever it holds, a client reads back what was set, and the place stays as it was."""
    read = urlsplit(address(SOCKET, "shop", password))
    assert (read.username, unquote(read.password or ""), read.path) == (
        "shop",
        password,
        "/run/valkey/valkey.sock",
    )


def test_the_address_takes_the_place_of_the_password() -> None:
    """Other secrets stay, and an application without a cache gets nothing."""
    given_over = with_address("shop", entry(**KEPT), SOCKET)["secrets"]
    assert given_over == {"api_key": "x", "cache_url": f"unix://shop:{PASSWORD}@/run/valkey/valkey.sock"}
    remote = with_address("shop", entry(**KEPT, **ELSEWHERE), "rediss://db1.example.org:6379/0")
    assert remote["secrets"]["REDIS_URL"] == f"rediss://shop:{PASSWORD}@db1.example.org:6379/0"
    assert with_address("shop", entry(), SOCKET) == entry()


def test_only_a_socket_needs_the_group(host: Host) -> None:
    """The group is there where the server is; what comes over the network needs none."""
    assert group(entry(**KEPT), SOCKET, "cache-clients") == "cache-clients"
    assert group(entry(**KEPT), "rediss://db1.example.org:6379/0", "cache-clients") == ""
    assert group(entry(), SOCKET, "cache-clients") == ""
    request = host.request("one")
    assert "SupplementaryGroups" not in drop_in(host.settings(request), "some-release")
    request["cache_group"] = "cache-clients"
    assert "\nSupplementaryGroups=cache-clients\n" in drop_in(host.settings(request), "some-release")


def test_a_machine_without_the_group_is_refused(host: Host) -> None:
    """Before anything changes: systemd would start nothing of it. A look alone only says so."""
    request = {**host.request("one"), "cache_group": "cache-clients", "lease": None}
    problem = host.step("check", request)["problem"]
    assert "no group `cache-clients`" in problem
    assert "run `playbooks/site.yml`" in problem
    assert "`app_cache_group` in group_vars/all/app.yml" in problem
    looked = dispatch.run(host.engine(request), "check", request, check_mode=True)
    assert looked["problem"] is None
    assert looked["notices"] == [problem]
    assert not list(host.machine.root.iterdir())
    host.machine.groups.add("cache-clients")
    found = host.step("check", request)
    assert found["problem"] is None
    assert found["notices"] == []


def test_a_cache_that_works_is_not_refused() -> None:
    """Neither as a file nor as a variable."""
    assert found(**KEPT) == []
    assert found(**KEPT, secrets_as="env", **ELSEWHERE) == []
    assert found(web={"cache": {"enabled": True, "paths": ["/", "/products"], "size": "1g"}}) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"cache": "redis"}, 'apps.shop.cache is "redis", it must be one of valkey'),
        ({"cache": "valkey"}, "apps.shop.secrets.cache_password is missing"),
        ({"cache": "valkey", "secrets": {"cache_password": "short-one"}}, "is shorter than 20 characters"),
        ({"cache": "valkey", "secrets": {"cache_password": f"ü{PASSWORD}"}}, "or holds a blank or an umlaut"),
        ({**KEPT, "cache_secret": "a/b"}, "can be no file and no variable"),
        ({**KEPT, "cache_secret": "1st", "secrets_as": "env"}, "can be no file and no variable"),
        ({**KEPT, "cache_secret": "api_key"}, "is api_key, which secrets has too"),
        ({**KEPT, "cache_secret": "API_KEY", "secrets_as": "env"}, "is API_KEY, which secrets has too"),
        ({**KEPT, "secrets_as": "env", "env": {"CACHE_URL": "x"}}, "would be the variable CACHE_URL"),
        ({"web": {"cache": {"on": True}}}, "apps.shop.web.cache.on is not known; allowed here: cookies"),
        ({"web": {"cache": {"seconds": -1}}}, "apps.shop.web.cache.seconds is -1"),
        ({"web": {"cache": {"idle": 0}}}, "apps.shop.web.cache.idle is 0"),
        ({"web": {"cache": {"size": "much"}}}, 'apps.shop.web.cache.size is "much"'),
        ({"web": {"cache": {"paths": ["products"]}}}, 'apps.shop.web.cache.paths has "products"'),
        ({"web": {"cache": {"enabled": True}, "buffering": False}}, "take one of the two out"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(keys: dict[str, Any], said: str) -> None:
    """It names the key and what would work, and never the password."""
    (sentence,) = found(**keys)
    assert said in sentence
    assert PASSWORD not in sentence


def test_a_group_without_a_machine_is_refused() -> None:
    """Else the application would be handed the address of a server that nobody has made."""
    (sentence,) = problems({"shop": {**ENTRY, **KEPT}}, GROUPS | {"cache": []})
    assert "apps.shop.cache is valkey, and group cache has no machine in hosts.yml" in plain(sentence)
    (named,) = problems({"default": {**ENTRY, **KEPT}}, GROUPS)
    assert "a user of Valkey's own" in named
