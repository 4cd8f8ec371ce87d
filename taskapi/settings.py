"""Every setting: the environment variable's name, its default, and what it means."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from taskapi.addresses import host_name, netloc, origin, path_prefix
from taskapi.environment import Environment
from taskapi.errors import ConfigurationError
from taskapi.places import BASE, DATA

EXACT_ORIGIN = (
    "an exact origin, such as https://app.example.com, without a path; wildcards are refused, because credentials are"
    " allowed, and other than ASCII letters are written in punycode (xn--…)"
)
HOST_NAME = "a host name such as api.example.com, or .example.com for all names that end with it"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process. `Settings.from_environment()` reads them; README's table explains them."""

    app_env: str = "development"
    host: str = "127.0.0.1"
    port: int = 8000
    script_name: str = ""
    workers: int = 1
    database_url: str | None = field(default=None, repr=False)
    data_dir: Path = DATA
    auto_migrate: bool = True
    db_connections: int = 20
    db_pool_timeout: float = 5.0
    db_lock_timeout: float = 5.0
    db_statement_timeout: float = 15.0
    request_deadline: float = 30.0
    db_prepare: bool = True
    max_body_bytes: int = 1024 * 1024
    cors_origins: tuple[str, ...] = ("http://localhost:3000",)
    trusted_hosts: tuple[str, ...] = ()
    api_tokens: tuple[str, ...] = field(default=(), repr=False)
    metrics: bool = False
    log_level: str = "INFO"

    @property
    def in_production(self) -> bool:
        return self.app_env == "production"

    @property
    def address(self) -> str:
        """Where the service listens, as `host:port`; an IPv6 address is in brackets, as in a URL."""
        return netloc(self.host, self.port)

    @property
    def pool_size(self) -> int:
        """Connections of one worker: its share of the service's, and one at the least."""
        return max(1, self.db_connections // self.workers)

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the settings from the process's environment and, in development, from `.env` in the project's folder.

        Raises ConfigurationError, in a sentence that names the variable and what is allowed. It shows the value, too,
        unless that may be a secret.
        """
        env = Environment(BASE)
        db_connections = env.whole("DB_CONNECTIONS", 20, 1, 10_000)
        cores = min(os.cpu_count() or 1, db_connections)
        settings = cls(
            app_env=env.one_of("APP_ENV", "development", ("development", "production")),
            host=env.parsed("HOST", "127.0.0.1", _listening_host, "an address to listen at, such as 0.0.0.0 or ::1"),
            port=env.whole("PORT", 8000, 1, 65535),
            script_name=env.parsed("SCRIPT_NAME", "", path_prefix, "the start of a path, such as /tasks"),
            workers=env.whole("WEB_CONCURRENCY", cores, 1, 512),
            database_url=env.text("DATABASE_URL") or None,
            data_dir=env.parsed("DATA_DIR", DATA, _data_dir, "a folder"),
            auto_migrate=env.flag("AUTO_MIGRATE", True),
            db_connections=db_connections,
            db_pool_timeout=env.seconds("DB_POOL_TIMEOUT", 5.0),
            db_lock_timeout=env.seconds("DB_LOCK_TIMEOUT", 5.0),
            db_statement_timeout=env.seconds("DB_STATEMENT_TIMEOUT", 15.0),
            request_deadline=env.seconds("REQUEST_DEADLINE", 30.0),
            db_prepare=env.flag("DB_PREPARE", True),
            max_body_bytes=env.whole("MAX_BODY_BYTES", 1024 * 1024, 1),
            cors_origins=env.listed("CORS_ORIGINS", ["http://localhost:3000"], origin, EXACT_ORIGIN),
            trusted_hosts=env.listed("TRUSTED_HOSTS", [], _trusted_host, HOST_NAME),
            api_tokens=env.listed("API_TOKENS", [], str, "a token"),
            metrics=env.flag("METRICS", False),
            log_level=env.one_of("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        )
        if env.text("API_TOKENS") and not settings.api_tokens:
            raise ConfigurationError("API_TOKENS: there is no token in it; leave it unset to have the API open.")
        settings._check()
        return settings

    def _check(self) -> None:
        if self.in_production and not self.database_url:
            raise ConfigurationError(
                "DATABASE_URL is not set: with APP_ENV=production, give the URL of a PostgreSQL,"
                " such as postgresql://user:password@host/database."
            )
        if self.workers > self.db_connections:
            raise ConfigurationError(
                f"WEB_CONCURRENCY ({self.workers}) exceeds DB_CONNECTIONS ({self.db_connections}):"
                " each worker needs a database connection. Lower the one or raise the other."
            )


def _data_dir(text: str) -> Path:
    """The folder, relative to the project's; in a .env file, no shell has read a `~` before us."""
    try:
        return BASE / Path(text or DATA).expanduser()
    except RuntimeError:
        raise ValueError("no such user") from None


def _listening_host(text: str) -> str:
    """An address or a name without a port; an IPv6 address may be in brackets."""
    if ":" not in text:
        return host_name(text)
    return host_name(text if text.startswith("[") and text.endswith("]") else f"[{text}]")[1:-1]


def _trusted_host(text: str) -> str:
    """A host's name; with a dot before it, also all names that end with it."""
    if text.startswith("."):
        return f".{host_name(text[1:])}"
    return host_name(f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text)
