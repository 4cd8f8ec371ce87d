"""The settings: environment variables with their defaults, and values that our processes pass on."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from taskapi.addresses import host_name, netloc, origin, path_prefix
from taskapi.callers import OWNER, OWNER_RULE, owner_name
from taskapi.environment import Environment
from taskapi.errors import ConfigurationError
from taskapi.places import BASE, DATA

EXACT_ORIGIN = (
    "an exact origin, such as https://app.example.com, without a path; wildcards are refused, because credentials are"
    " allowed, and other than ASCII letters are written in punycode (xn--…)"
)
SECRET_RULE = "a secret of at least 32 bytes, such as `openssl rand -hex 32` prints"  # noqa: S105
PUBLIC_KEY_RULE = "a public key as PEM: RSA of at least 2048 bits, EC (P-256, P-384, P-521) or EdDSA"
HOST_NAME = "a host name such as api.example.com, or .example.com for all names that end with it"

# From gunicorn's master to its workers. Do not rename them: the master may be of an older version.
SLOTS_VARIABLE = "TASKAPI_SLOTS"
METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it, too.


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process. `Settings.from_environment()` reads them; README's table explains them.

    The last four are not for people: they come from the process that started this one.
    """

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
    max_streams: int = 400
    cors_origins: tuple[str, ...] = ("http://localhost:3000",)
    trusted_hosts: tuple[str, ...] = ()
    api_tokens: tuple[str, ...] = field(default=(), repr=False)
    jwt_secret: str | None = field(default=None, repr=False)
    jwt_public_key: str | None = field(default=None, repr=False)
    jwt_jwks_url: str | None = field(default=None, repr=False)
    jwt_audience: tuple[str, ...] = ()
    jwt_issuer: str | None = None
    jwt_owner_claim: str = "sub"
    jwt_leeway: int = 5
    taskapi_owner: str = OWNER
    metrics: bool = False
    log_level: str = "INFO"

    has_gunicorn_conf: bool = False
    """Whether this process, or the one that started it, has read gunicorn.conf.py."""
    slots: int | None = None
    """The descriptor of the file with the service's connection slots. None if no other process shares them."""
    metrics_folder: str | None = None
    """The folder in which the workers share their metrics. None if there is only this process."""
    has_inherited_sockets: bool = False
    """Whether gunicorn gets its sockets from the master before it, or from systemd."""

    @property
    def in_production(self) -> bool:
        return self.app_env == "production"

    @property
    def takes_jwts(self) -> bool:
        """Whether callers may sign in with a JWT, so that there are many owners."""
        return bool(self.jwt_secret or self.jwt_public_key or self.jwt_jwks_url)

    @property
    def address(self) -> str:
        """Where the service listens, as `host:port`; an IPv6 address is in brackets, as in a URL."""
        return netloc(self.host, self.port)

    @property
    def pool_size(self) -> int:
        """Connections of one worker: its share of the service's, but at least one."""
        return max(1, self.db_connections // self.workers)

    @property
    def ending_seconds(self) -> int:
        """How long an ending process may finish its requests: longer than any request may take."""
        return int(self.request_deadline) + 5

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read the settings from the process's environment and, in development, from `.env` in the project's folder.

        Raises ConfigurationError with a sentence that names the variable and the allowed values. It shows the value,
        too, unless that may be a secret.
        """
        env = Environment(BASE)
        db_connections = env.whole("DB_CONNECTIONS", cls.db_connections, 1, 10_000)
        cores = min(os.cpu_count() or 1, db_connections)
        settings = cls(
            app_env=env.one_of("APP_ENV", cls.app_env, ("development", "production")),
            host=env.parsed("HOST", cls.host, _listening_host, "an address to listen at, such as 0.0.0.0 or ::1"),
            port=env.whole("PORT", cls.port, 1, 65535),
            script_name=env.parsed("SCRIPT_NAME", cls.script_name, path_prefix, "the start of a path, such as /tasks"),
            workers=env.whole("WEB_CONCURRENCY", cores, 1, 512),
            database_url=env.text("DATABASE_URL") or None,
            data_dir=env.parsed("DATA_DIR", cls.data_dir, _data_dir, "a folder"),
            auto_migrate=env.flag("AUTO_MIGRATE", cls.auto_migrate),
            db_connections=db_connections,
            db_pool_timeout=env.seconds("DB_POOL_TIMEOUT", cls.db_pool_timeout),
            db_lock_timeout=env.seconds("DB_LOCK_TIMEOUT", cls.db_lock_timeout),
            db_statement_timeout=env.seconds("DB_STATEMENT_TIMEOUT", cls.db_statement_timeout),
            request_deadline=env.seconds("REQUEST_DEADLINE", cls.request_deadline),
            db_prepare=env.flag("DB_PREPARE", cls.db_prepare),
            max_body_bytes=env.whole("MAX_BODY_BYTES", cls.max_body_bytes, 1),
            max_streams=env.whole("MAX_STREAMS", cls.max_streams, 0, 10_000),
            cors_origins=env.listed("CORS_ORIGINS", cls.cors_origins, origin, EXACT_ORIGIN),
            trusted_hosts=env.listed("TRUSTED_HOSTS", cls.trusted_hosts, _trusted_host, HOST_NAME),
            api_tokens=env.listed("API_TOKENS", cls.api_tokens, str, "a token"),
            jwt_secret=env.parsed("JWT_SECRET", cls.jwt_secret, _secret, SECRET_RULE),
            jwt_public_key=env.parsed("JWT_PUBLIC_KEY", cls.jwt_public_key, _public_key, PUBLIC_KEY_RULE),
            jwt_jwks_url=env.parsed("JWT_JWKS_URL", cls.jwt_jwks_url, _key_server, "an https:// or http:// URL"),
            jwt_audience=env.listed("JWT_AUDIENCE", cls.jwt_audience, str, "an audience"),
            jwt_issuer=env.parsed("JWT_ISSUER", cls.jwt_issuer, _some_text, "an issuer"),
            jwt_owner_claim=env.parsed("JWT_OWNER_CLAIM", cls.jwt_owner_claim, _some_text, "the name of a claim"),
            jwt_leeway=env.whole("JWT_LEEWAY", cls.jwt_leeway, 0, 600),
            taskapi_owner=env.parsed("TASKAPI_OWNER", cls.taskapi_owner, owner_name, OWNER_RULE),
            metrics=env.flag("METRICS", cls.metrics),
            log_level=env.one_of("LOG_LEVEL", cls.log_level, ("DEBUG", "INFO", "WARNING", "ERROR")),
            has_gunicorn_conf=env.handed_down(SLOTS_VARIABLE) is not None,
            slots=_descriptor(env.handed_down(SLOTS_VARIABLE)),
            metrics_folder=env.handed_down(METRICS_FOLDER_VARIABLE),
            has_inherited_sockets=bool(env.handed_down("GUNICORN_FD") or env.handed_down("LISTEN_FDS")),
        )
        if env.text("API_TOKENS") and not settings.api_tokens:
            raise ConfigurationError("API_TOKENS: there is no token in it; leave it unset to have the API open.")
        if "JWT_AUDIENCE" in env and not settings.jwt_audience:
            raise ConfigurationError("JWT_AUDIENCE: there is no audience in it; leave it unset where tokens have none.")
        settings._check()
        return settings

    def _check(self) -> None:
        keys = {
            "JWT_SECRET": self.jwt_secret,
            "JWT_PUBLIC_KEY": self.jwt_public_key,
            "JWT_JWKS_URL": self.jwt_jwks_url,
        }
        if len(given := [name for name, value in keys.items() if value]) > 1:
            raise ConfigurationError(f"{' and '.join(given)} are set: keep one of them (look into .env, too).")
        if not given and (self.jwt_audience or self.jwt_issuer):
            raise ConfigurationError(
                "JWT_AUDIENCE and JWT_ISSUER need a key to check tokens with: set JWT_SECRET, JWT_PUBLIC_KEY or"
                " JWT_JWKS_URL, too."
            )
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


def _descriptor(text: str | None) -> int | None:
    return int(text) if text else None


def _data_dir(text: str) -> Path:
    """The folder, relative to the project's. Expands `~`, since no shell does this for a .env file."""
    try:
        return BASE / Path(text or DATA).expanduser()
    except RuntimeError:
        raise ValueError("no such user") from None


def _some_text(text: str) -> str:
    if not text:
        raise ValueError("empty")
    return text


def _secret(text: str) -> str:
    # Imported here and below: what PyJWT needs takes a tenth of a second and 10 MB, and most services have no JWTs.
    from taskapi.jwt_keys import secret_key

    secret_key(text)
    return text


def _public_key(text: str) -> str:
    from taskapi.jwt_keys import public_key

    public_key(text)
    return text


def _key_server(text: str) -> str:
    url = urlsplit(text)
    is_clean = text.isascii() and text.isprintable() and " " not in text
    # To read the port raises ValueError if it is none.
    if url.scheme not in ("https", "http") or not url.hostname or url.port == 0 or not is_clean:
        raise ValueError("no URL")
    return text


def _listening_host(text: str) -> str:
    """An address or a name without a port; an IPv6 address may be in brackets."""
    if ":" not in text:
        return host_name(text)
    return host_name(text if text.startswith("[") and text.endswith("]") else f"[{text}]")[1:-1]


def _trusted_host(text: str) -> str:
    """A host's name. A leading dot also allows all subdomains."""
    if text.startswith("."):
        return f".{host_name(text[1:])}"
    return host_name(f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text)
