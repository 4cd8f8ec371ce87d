"""Every setting: the environment variable's name, its default, and what it means."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from environs import Env, EnvError, validate

from taskapi.errors import ConfigurationError
from taskapi.places import BASE, DATA


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process. `Settings.from_environment()` reads them; README's table explains them."""

    app_env: str = "development"
    host: str = "127.0.0.1"
    port: int = 8000
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
    def pool_size(self) -> int:
        """Connections of one worker: its share of the service's, and one at the least."""
        return max(1, self.db_connections // self.workers)

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the settings from the process's environment.

        Raises ConfigurationError, in a sentence that names the variable and never its value, which may be a secret.
        """
        env = Env()
        positive = validate.Range(min=0, min_inclusive=False)
        try:
            db_connections = env.int("DB_CONNECTIONS", 20, validate=validate.Range(min=1, max=10_000))
            cores = min(os.cpu_count() or 1, db_connections)
            settings = cls(
                app_env=env.str("APP_ENV", "development", validate=validate.OneOf(["development", "production"])),
                host=env.str("HOST", "127.0.0.1"),
                port=env.int("PORT", 8000, validate=validate.Range(min=1, max=65535)),
                workers=env.int("WEB_CONCURRENCY", cores, validate=validate.Range(min=1, max=512)),
                database_url=env.str("DATABASE_URL", "").strip() or None,
                data_dir=BASE / env.str("DATA_DIR", str(DATA)),
                auto_migrate=env.bool("AUTO_MIGRATE", True),
                db_connections=db_connections,
                db_pool_timeout=env.float("DB_POOL_TIMEOUT", 5.0, validate=positive),
                db_lock_timeout=env.float("DB_LOCK_TIMEOUT", 5.0, validate=positive),
                db_statement_timeout=env.float("DB_STATEMENT_TIMEOUT", 15.0, validate=positive),
                request_deadline=env.float("REQUEST_DEADLINE", 30.0, validate=positive),
                db_prepare=env.bool("DB_PREPARE", True),
                max_body_bytes=env.int("MAX_BODY_BYTES", 1024 * 1024, validate=validate.Range(min=1)),
                cors_origins=_words(env.list("CORS_ORIGINS", ["http://localhost:3000"])),
                trusted_hosts=_words(env.list("TRUSTED_HOSTS", [])),
                api_tokens=_tokens(env.str("API_TOKENS", "")),
                metrics=env.bool("METRICS", False),
                log_level=env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
            )
        except EnvError as error:
            raise ConfigurationError(_without_value(error)) from None
        settings._check()
        return settings

    def _check(self) -> None:
        if self.in_production and not self.database_url:
            raise ConfigurationError(
                "DATABASE_URL is not set: with APP_ENV=production, give the URL of a PostgreSQL,"
                " such as postgresql://user:password@host/database."
            )
        for origin in self.cors_origins:
            if not re.fullmatch(r"[a-z][a-z0-9.-]*://[A-Za-z0-9.-]+(:[0-9]+)?", origin):
                raise ConfigurationError(
                    "CORS_ORIGINS: each origin is exact, such as https://app.example.com, without a path; wildcards are"
                    " refused, because credentials are allowed."
                )
        if self.workers > self.db_connections:
            raise ConfigurationError(
                f"WEB_CONCURRENCY ({self.workers}) exceeds DB_CONNECTIONS ({self.db_connections}):"
                " each worker needs a database connection. Lower the one or raise the other."
            )


def _words(values: list[str]) -> tuple[str, ...]:
    return tuple(value.strip() for value in values if value.strip())


def _tokens(value: str) -> tuple[str, ...]:
    tokens = _words(value.split(","))
    if value and not tokens:
        raise ConfigurationError("API_TOKENS: there is no token in it; leave it unset to have the API open.")
    return tokens


def _without_value(error: EnvError) -> str:
    # environs quotes the value in some of its messages; the name and the rule are enough to mend it.
    name, _, rule = str(error).partition(":")
    rule = rule.strip()
    if "invalid:" in rule or '"' in name:
        name = name.split('"')[1] if '"' in name else name
        rule = "the value cannot be read; see the settings in README.md"
    return f"{name}: {rule}"
