"""The settings: each variable's default, what it takes, and what is refused in a sentence that names no secret."""

import os
from pathlib import Path
from typing import Any

import pytest

from taskapi.errors import ConfigurationError
from taskapi.places import ROOT
from taskapi.settings import Settings

URL = "postgresql://user:secret@db.example.com/app"

# Of each variable: its field, the default, texts that are taken and as what, and texts that are refused. A list of
# commas, for one, is no list of tokens: who wrote it meant to close the service, and it must not stand open.
VARIABLES: dict[str, tuple[str, Any, dict[str, Any], list[str]]] = {
    "APP_ENV": ("app_env", "development", {"development": "development"}, ["", "prod", "Production", "staging"]),
    "HOST": ("host", "127.0.0.1", {"0.0.0.0": "0.0.0.0", "::1": "::1"}, []),
    "PORT": ("port", 8000, {"1": 1, "65535": 65535}, ["", "0", "65536", "-1", "http", "80.5"]),
    "WEB_CONCURRENCY": ("workers", None, {"1": 1, "20": 20}, ["", "0", "-1", "many", "1.5", "513"]),
    "DATABASE_URL": ("database_url", None, {URL: URL, f"  {URL}\n": URL, "": None, "  ": None}, []),
    "DATA_DIR": ("data_dir", ROOT / ".data", {"data": ROOT / "data", "/srv/data": Path("/srv/data")}, []),
    "AUTO_MIGRATE": ("auto_migrate", True, {"false": False, "0": False, "true": True, "1": True}, ["", "maybe"]),
    "DB_CONNECTIONS": ("db_connections", 20, {"512": 512, "10000": 10000}, ["", "0", "-1", "10001", "lots"]),
    "DB_POOL_TIMEOUT": ("db_pool_timeout", 5.0, {"0.5": 0.5, "7": 7.0}, ["", "0", "-1", "nan", "inf", "soon"]),
    "DB_LOCK_TIMEOUT": ("db_lock_timeout", 5.0, {"0.5": 0.5, "7": 7.0}, ["", "0", "-1", "nan", "inf", "soon"]),
    "DB_STATEMENT_TIMEOUT": ("db_statement_timeout", 15.0, {"0.5": 0.5}, ["", "0", "-1", "nan", "inf", "soon"]),
    "REQUEST_DEADLINE": ("request_deadline", 30.0, {"60": 60.0}, ["", "0", "-1", "nan", "inf", "soon"]),
    "DB_PREPARE": ("db_prepare", True, {"false": False, "true": True}, ["", "maybe"]),
    "MAX_BODY_BYTES": ("max_body_bytes", 1048576, {"1": 1, "5000": 5000}, ["", "0", "-1", "1MiB"]),
    "CORS_ORIGINS": (
        "cors_origins",
        ("http://localhost:3000",),
        {
            "": (),
            "https://a.example.com": ("https://a.example.com",),
            " https://a.example.com , http://localhost:5173,": ("https://a.example.com", "http://localhost:5173"),
        },
        ["*", "https://*.example.com", "https://a.example.com,*", "null", "a.example.com", "https://a.example.com/"],
    ),
    "TRUSTED_HOSTS": ("trusted_hosts", (), {"": (), "api.example.com, .local": ("api.example.com", ".local")}, []),
    "API_TOKENS": ("api_tokens", (), {"": (), "first, second,": ("first", "second")}, [",", " , "]),
    "METRICS": ("metrics", False, {"true": True, "false": False}, ["", "maybe"]),
    "LOG_LEVEL": ("log_level", "INFO", {"DEBUG": "DEBUG", "ERROR": "ERROR"}, ["", "LOUD"]),
}

TAKEN = [(name, text, value) for name, (_, _, taken, _) in VARIABLES.items() for text, value in taken.items()]
REFUSED = [(name, text) for name, (_, _, _, refused) in VARIABLES.items() for text in refused]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of our variables is set, whatever the person who runs the tests has."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_every_field_has_its_variable_here() -> None:
    assert [field for field, *_ in VARIABLES.values()] == list(Settings.__dataclass_fields__)


@pytest.mark.parametrize("name", [name for name in VARIABLES if name != "WEB_CONCURRENCY"])
def test_default(name: str) -> None:
    field, default, *_ = VARIABLES[name]
    assert getattr(Settings.from_environment(), field) == default
    assert getattr(Settings(), field) == default


@pytest.mark.parametrize(("name", "text", "value"), TAKEN)
def test_taken(name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    assert getattr(Settings.from_environment(), VARIABLES[name][0]) == value


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_refused_by_name(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError) as refusal:
        Settings.from_environment()
    assert str(refusal.value).startswith(f"{name}:"), refusal.value
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "name", [name for name, (*_, refused) in VARIABLES.items() if refused and name != "API_TOKENS"]
)
def test_a_refusal_never_quotes_the_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A password pasted behind the wrong name must not end up in a log.
    monkeypatch.setenv(name, "hunter2")
    with pytest.raises(ConfigurationError) as refusal:
        Settings.from_environment()
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (16, 16), (None, 1)])
def test_a_worker_for_each_core(cores: int | None, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert Settings.from_environment().workers == workers


@pytest.mark.parametrize("cores", [21, 64, 1024])
def test_the_defaults_fit_a_machine_of_many_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    settings = Settings.from_environment()
    assert settings.workers <= settings.db_connections


def test_production_needs_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(
        ConfigurationError, match=r"^DATABASE_URL is not set: .*postgresql://user:password@host/database"
    ):
        Settings.from_environment()
    monkeypatch.setenv("DATABASE_URL", URL)
    assert Settings.from_environment().in_production


def test_more_workers_than_connections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "5")
    monkeypatch.setenv("DB_CONNECTIONS", "4")
    with pytest.raises(ConfigurationError, match=r"^WEB_CONCURRENCY \(5\) exceeds DB_CONNECTIONS \(4\)"):
        Settings.from_environment()
    monkeypatch.setenv("DB_CONNECTIONS", "5")
    assert Settings.from_environment().pool_size == 1


@pytest.mark.parametrize(
    ("connections", "workers", "each"), [(20, 1, 20), (20, 2, 10), (20, 3, 6), (20, 20, 1), (7, 4, 1)]
)
def test_the_workers_share_the_connections(connections: int, workers: int, each: int) -> None:
    settings = Settings(db_connections=connections, workers=workers)
    assert settings.pool_size == each
    assert settings.pool_size * workers <= connections


def test_secrets_are_not_in_the_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("API_TOKENS", "token-one,token-two")
    text = repr(Settings.from_environment())
    assert not {word for word in ("secret", "token-one", "token-two") if word in text}
