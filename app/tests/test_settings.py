"""Where settings come from, and what is refused."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from catalog.security import digest
from catalog.security import main as make_key
from catalog.settings import SettingsError, load_settings, main, masked
from tests.servers import APP

HASH = hashlib.sha256(b"a key").hexdigest()


def test_defaults_are_sqlite_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any setting the application runs, on a file beside it."""
    settings = load_settings()
    assert settings.database_url == "sqlite:///catalog.db"
    assert settings.api_keys == {}


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's own names have a prefix; those of the deployment have none; empty means unset."""
    monkeypatch.setenv("DATABASE_URL", "postgresql:///catalog?host=/run/postgresql")
    monkeypatch.setenv("APP_RELEASE", "20261121T2210-3f9c1a")
    monkeypatch.setenv("CATALOG_READY_TIMEOUT", "1.5")
    monkeypatch.setenv("CATALOG_LOG_LEVEL", "")
    settings = load_settings()
    assert settings.database_url == "postgresql:///catalog?host=/run/postgresql"
    assert settings.release == "20261121T2210-3f9c1a"
    assert settings.ready_timeout == 1.5
    assert settings.log_level == "info"


def test_credentials_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of systemd's credentials directory sets the field it is named like; other files are not ours."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "database_password").write_text("p w%$'\n")
    (tmp_path / "api_keys").write_text(f"shop:{HASH}\nstock:{digest('other')}\n")
    (tmp_path / "somebody_elses").write_text("x")
    settings = load_settings()
    assert settings.database_password is not None
    assert settings.database_password.get_secret_value() == "p w%$'"
    assert settings.api_keys == {"shop": HASH, "stock": digest("other")}


def test_dotenv_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `.env` that was committed by mistake never wins."""
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("APP_RELEASE=stray\nCATALOG_LOG_LEVEL=debug\n")
    assert (load_settings().release, load_settings().log_level) == ("unreleased", "info")


SAY = "write postgresql:///catalog?host="


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("CATALOG_LOGLEVEL", "info", "is not a setting of this application: did you mean CATALOG_LOG_LEVEL?"),
        ("CATALOG_X", "1", "is not a setting of this application: known are DATABASE_URL, CATALOG_"),
        ("CATALOG_DATABASE_URL", "sqlite:///x.db", "did you mean DATABASE_URL?"),
        ("CATALOG_DATABASE_POOL_SIZE", "0", ": Input should be greater than or equal to 1"),
        ("CATALOG_LOG_LEVEL", "loud", ": Input should be 'debug', 'info', 'warning' or 'error'"),
        ("CATALOG_API_KEYS", "shop:changeme", ": write `name:sha256` entries"),
        ("CATALOG_API_KEYS", f"shop:{HASH} shop:{HASH}", ": two keys have the same name"),
        ("CATALOG_API_KEYS", f"shop:{HASH} new:{'0' * 64}", ": that of new is a placeholder; `python -m"),
        ("CATALOG_API_KEYS", f"shop:{digest('changeme')}", ": that of shop is a placeholder"),
        ("CATALOG_DATABASE_PASSWORD", "<ChangeMe>", ": it is a placeholder; `openssl"),
        ("CATALOG_DATABASE_PASSWORD", "xxxxxx", ": it is a placeholder"),
        ("DATABASE_URL", "postgresql://u:secret@db/x", ": its password is a placeholder"),
        ("CATALOG_CACHE_URL", "http://secret@x", ": write memory, off, redis://host:6379/0"),
        ("DATABASE_URL", "mysql://secret@host/x", SAY),
        ("DATABASE_URL", "sqlite://", SAY),
        ("DATABASE_URL", "sqlite:///:memory:", SAY),
        ("DATABASE_URL", "postgresql", SAY),
        ("DATABASE_URL", "postgresql://u:secret@[/x", "libpq cannot read it"),
    ],
)
def test_a_bad_setting_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, sentence: str
) -> None:
    """The sentence names the variable and a way out, and never repeats the value, which may be secret."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).startswith(name)
    assert sentence in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "changeme" not in str(refused.value)
    assert main() == 1
    assert sentence in capsys.readouterr().err


def test_effective_settings_are_printed_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What is printed may be pasted into a ticket."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "database_password").write_text("hunter22")
    (tmp_path / "api_keys").write_text(f"shop:{HASH}")
    monkeypatch.setenv(
        "DATABASE_URL", "postgresql://u:hunter3@db/catalog?sslpassword=hunter4&password=hunter5"
    )
    monkeypatch.setenv("CATALOG_CACHE_URL", "redis://catalog:hunter6@cache:6379/0")
    assert main() == 0
    out = capsys.readouterr().out
    assert "DATABASE_URL=postgresql://u:****@db/catalog?sslpassword=****&password=****\n" in out
    assert "CATALOG_DATABASE_PASSWORD=****\n" in out
    assert "CATALOG_CACHE_URL=redis://****@cache:6379/0\n" in out
    assert "CATALOG_API_KEYS=shop:****\n" in out
    assert "CATALOG_LOG_LEVEL=info\n" in out
    assert "hunter" not in out + repr(load_settings())
    assert HASH not in out + repr(load_settings())


def test_nothing_is_hidden_that_is_no_secret() -> None:
    """Without secrets every value is shown as it is, and none is left out."""
    settings = load_settings()
    shown = masked(settings)
    assert len(shown) == len(type(settings).model_fields)
    assert shown["DATABASE_URL"] == "sqlite:///catalog.db"
    assert shown["CATALOG_DATABASE_PASSWORD"] == ""
    assert "****" not in "".join(shown.values())


def test_a_key_is_made_with_its_entry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The printed entry is one that the settings take, and it is that of the printed key."""
    assert make_key(["shop"]) == 0
    key, entry = (line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines())
    monkeypatch.setenv("CATALOG_API_KEYS", entry)
    assert load_settings().api_keys == {"shop": digest(key)}
    for arguments in ([], ["two", "names"], ["a name"]):
        assert make_key(arguments) == 2


def test_importing_needs_no_settings() -> None:
    """Tools that import the application (a type checker, a test, a linter) need no server's settings."""
    code = "import catalog.main; assert callable(catalog.main.create_app)"
    environment = {"CATALOG_NONSENSE": "1", "DATABASE_URL": "nonsense", "PATH": ""}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=APP, env=environment, check=True)
