"""A certificate that no browser would believe is refused before a machine is touched."""

from pathlib import Path
from typing import Any

import pytest
from fastapi_metal.apps import pairs
from fastapi_metal.apps.pairs import wrong_pair
from fastapi_metal.apps.validation import problems
from pairs_made import DAY, NOW, Made, key_text, new_key

ROOT = Made("Root of the tests")
BETWEEN = Made("Between", ROOT)
SHOP = Made("shop", BETWEEN, ("shop.example.org", "*.shop.example.org"))
DOMAINS = ["shop.example.org"]
CHAIN = SHOP.text + BETWEEN.text
KEY = key_text(SHOP.key)


def refused(certificate: str = CHAIN, key: str = KEY, authority: str = ROOT.text) -> str:
    """Return the complaint about a pair as one text; an empty one where there is none."""
    wrong = wrong_pair(certificate, key, authority, DOMAINS)
    return " | ".join(wrong) if wrong else ""


def test_a_right_pair_passes() -> None:
    """Texts of a vault, with and without the root at the end; also a name that a wildcard covers."""
    assert refused() == ""
    assert refused(CHAIN + ROOT.text) == ""
    assert wrong_pair(CHAIN, KEY, ROOT.text, ["www.shop.example.org"]) is None


def test_files_are_read(tmp_path: Path) -> None:
    """Paths on the controller do as well."""
    for name, text in (("chain.pem", CHAIN), ("key.pem", KEY), ("ca.pem", ROOT.text)):
        (tmp_path / name).write_text(text)
    assert refused(*(str(tmp_path / name) for name in ("chain.pem", "key.pem", "ca.pem"))) == ""


def test_an_encrypted_file_is_named(tmp_path: Path) -> None:
    """A file that Ansible Vault has encrypted wants a lookup, which decrypts it."""
    (tmp_path / "key.pem").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    assert "lookup('ansible.builtin.file'" in refused(key=str(tmp_path / "key.pem"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": ""}, "key | is missing, and the mode is own | set for example `key:"),
        ({"certificate": "/nowhere.pem"}, "certificate | is neither a text in PEM nor a file"),
        ({"certificate": "-----BEGIN nothing"}, "certificate | holds no certificate"),
        (
            {"key": "-----BEGIN PRIVATE KEY-----\nabc"},
            "key | is no private key in PEM (its value is not shown)",
        ),
        ({"key": key_text(SHOP.key, "secret")}, "key | has a passphrase, and no one types it"),
        ({"key": key_text(new_key())}, "key | does not belong to the certificate of CN=shop"),
        ({"certificate": BETWEEN.text + SHOP.text}, "the one that does is further down, put it first"),
        ({"certificate": SHOP.text}, "certificate | lacks the intermediate certificate of CN=Between"),
        ({"certificate": SHOP.text + ROOT.text}, "number 2 (CN=Root of the tests) has not signed number 1"),
        ({"authority": ""}, "if that is an authority of your own, name its certificate in `authority`"),
    ],
)
def test_a_wrong_pair_is_refused(change: dict[str, str], words: str) -> None:
    """Each with the key of `tls` that is wrong, and a way out."""
    assert words in refused(**change)


def test_another_name_is_refused() -> None:
    """The sentence tells which names it has, and which are missing."""
    other = Made("other", BETWEEN, ("other.example.org",))
    found = refused(other.text + BETWEEN.text, key_text(other.key))
    assert "is for other.example.org, and not for shop.example.org" in found


def test_times_are_refused() -> None:
    """One that has expired, one whose intermediate has, and one that begins tomorrow."""
    old = Made("old", BETWEEN, ("shop.example.org",), NOW - 9 * DAY, NOW - DAY)
    assert f"expired on {NOW - DAY:%Y-%m-%d}" in refused(old.text + BETWEEN.text, key_text(old.key))
    between = Made("Old between", ROOT, begins=NOW - 9 * DAY, ends=NOW - DAY)
    below = Made("below", between, ("shop.example.org",))
    assert "of CN=Old between expired" in refused(below.text + between.text, key_text(below.key))
    new = Made("new", BETWEEN, ("shop.example.org",), NOW + DAY)
    assert "is good from" in refused(new.text + BETWEEN.text, key_text(new.key))


def test_one_that_has_signed_itself_is_refused() -> None:
    """There is a mode for that."""
    alone = Made("alone", None, ("shop.example.org",))
    assert "use `mode: selfsigned`" in refused(alone.text, key_text(alone.key))


def test_the_authorities_of_the_world_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `authority` theirs count; a controller that keeps them elsewhere believes a chain."""
    monkeypatch.setattr(pairs, "known_authorities", lambda: (ROOT.certificate,))
    assert refused(authority="") == ""
    assert "lacks the intermediate" in refused(SHOP.text, authority="")
    monkeypatch.setattr(pairs, "known_authorities", lambda: ())
    assert refused(authority="") == ""
    assert "lacks the intermediate" in refused(SHOP.text, authority="")


def entry(tmp_path: Path, **web: Any) -> dict[str, Any]:
    """Return an application whose `web` has these keys."""
    return {
        "domain": "shop.example.org",
        "source": {"path": str(tmp_path)},
        "module": "shop.main:app",
        "web": web,
    }


def test_a_refusal_names_variable_and_file_and_shows_no_key(tmp_path: Path) -> None:
    """As every sentence about `apps` does."""
    tls = {"mode": "own", "certificate": CHAIN, "key": key_text(new_key()), "authority": ROOT.text}
    (found,) = problems({"shop": entry(tmp_path, tls=tls)})
    assert found.startswith("`apps.shop.web.tls.key` in group_vars/all/apps.yml does not belong")
    assert "PRIVATE KEY" not in found
    assert problems({"shop": entry(tmp_path, tls={**tls, "key": KEY})}) == []


@pytest.mark.parametrize(
    ("web", "words"),
    [
        ({"tls": {"mode": "own"}}, "web.tls.certificate` in group_vars/all/apps.yml is missing"),
        ({"tls": {"mode": "letsencrypt"}}, "must be one of acme, own, selfsigned, external"),
        ({"tls": {"key": "x"}}, "web.tls.key` in group_vars/all/apps.yml is set, and the mode is acme"),
        ({"tls": {"mode": "external"}}, "web.trusted_proxies` in group_vars/all/apps.yml is empty"),
        ({"trusted_proxies": ["10.0.0.5/24"]}, 'has "10.0.0.5/24", which is no address and no network'),
        ({"trusted_proxies": ["0.0.0.0/0"]}, "so that anybody could say who he is"),
        ({"client_header": "X Forwarded"}, "which is no name of a header"),
        ({"hsts": "forever"}, "must be one of none, minutes, week, years, preload"),
        ({"headers": {"Strict-Transport-Security": "x"}}, "use `hsts`"),
        ({"headers": {"X-A": 'a"b'}}, "which is no text that Nginx can send"),
        ({"headers": {"X-A": "$host"}}, "which is no text that Nginx can send"),
        ({"headers": {"X A": "b"}}, "is no name of a header"),
        ({"rate_limit": {"rate": "20"}}, "as in `20r/s` or `90r/m`"),
        ({"rate_limit": {"burst": -1}}, "use 0 or more"),
        ({"max_connections": -1}, "use 0 for no limit"),
        ({"max_header": "0"}, "use for example `16k`"),
    ],
)
def test_what_nginx_could_not_do_is_refused(tmp_path: Path, web: dict[str, Any], words: str) -> None:
    """In one sentence each."""
    found = problems({"shop": entry(tmp_path, **web)})
    assert len(found) == 1, found
    assert words in found[0]
