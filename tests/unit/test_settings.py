"""The settings: each variable's default, what it takes, what is refused and how, and the .env file."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import taskapi.settings
from taskapi.errors import ConfigurationError
from taskapi.places import DATA, ROOT
from taskapi.settings import Settings
from tests.support.environment import environment_of

URL = "postgresql://user:secret@db.example.com/app"

SECRET = "0123456789abcdef" * 2

PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----"""
"""An Ed25519 key: that of RFC 8032, section 7.1, test 1."""

SWITCH = {"true": True, "1": True, "ON": True, "yEs": True, "false": False, "0": False, "Off": False, "NO": False}
NO_SECONDS = ["", "0", "-1", "nan", "inf", "soon"]

# Of each variable: its field, the default, texts that are taken and as what, and texts that are refused. A list of
# commas, for one, is no list of tokens: who wrote it meant to close the service, and it must not stand open.
VARIABLES: dict[str, tuple[str, Any, dict[str, Any], list[str]]] = {
    "APP_ENV": (
        "app_env",
        "development",
        {"development": "development", "Development": "development", " DEVELOPMENT ": "development"},
        ["", "prod", "staging"],
    ),
    "HOST": (
        "host",
        "127.0.0.1",
        {
            "0.0.0.0": "0.0.0.0",
            "Localhost": "localhost",
            "::": "::",
            "::1": "::1",
            "[::1]": "::1",
            "0:0:0:0:0:0:0:1": "::1",
            "FD00::2": "fd00::2",
        },
        ["", "http://0.0.0.0", "0.0.0.0:8000", "[::1]:8000", "::x", "a b", "/run/taskapi.sock", "[127.0.0.1]"],
    ),
    "PORT": ("port", 8000, {"1": 1, " 65535 ": 65535}, ["", "0", "65536", "-1", "http", "80.5"]),
    "SCRIPT_NAME": (
        "script_name",
        "",
        {"": "", "/": "", "/tasks": "/tasks", "tasks": "/tasks", "/a/b/": "/a/b", "/A~b_1.c": "/A~b_1.c"},
        ["/a//b", "/..", "/a/../b", "/a b", "/a?b", "/a#b", "/%41", "/é", "https://example.com/tasks", "//evil/x:y"],
    ),
    "WEB_CONCURRENCY": ("workers", None, {"1": 1, "20": 20}, ["", "0", "-1", "many", "1.5", "513"]),
    "DATABASE_URL": ("database_url", None, {URL: URL, f"  {URL}\n": URL, "": None, "  ": None}, []),
    "DATA_DIR": (
        "data_dir",
        DATA,
        {"data": ROOT / "data", "/srv/data": Path("/srv/data"), "": DATA, "~/data": Path.home() / "data"},
        ["~nobody-of-that-name/data"],
    ),
    "AUTO_MIGRATE": ("auto_migrate", True, SWITCH, ["", "maybe"]),
    "DB_CONNECTIONS": ("db_connections", 20, {"512": 512, "10000": 10000}, ["", "0", "-1", "10001", "lots"]),
    "DB_POOL_TIMEOUT": ("db_pool_timeout", 5.0, {"0.5": 0.5, "7": 7.0}, NO_SECONDS),
    "DB_LOCK_TIMEOUT": ("db_lock_timeout", 5.0, {"0.5": 0.5, "7": 7.0}, NO_SECONDS),
    "DB_STATEMENT_TIMEOUT": ("db_statement_timeout", 15.0, {"0.5": 0.5}, NO_SECONDS),
    "REQUEST_DEADLINE": ("request_deadline", 30.0, {"60": 60.0}, NO_SECONDS),
    "DB_PREPARE": ("db_prepare", True, SWITCH, ["", "maybe"]),
    "MAX_BODY_BYTES": ("max_body_bytes", 1048576, {"1": 1, "5000": 5000}, ["", "0", "-1", "1MiB"]),
    "MAX_STREAMS": ("max_streams", 400, {"0": 0, "10000": 10000}, ["", "-1", "10001", "many"]),
    "CORS_ORIGINS": (
        "cors_origins",
        ("http://localhost:3000",),
        {
            "": (),
            "https://a.example.com": ("https://a.example.com",),
            " https://a.example.com , http://localhost:5173,": ("https://a.example.com", "http://localhost:5173"),
            "http://localhost:3000/": ("http://localhost:3000",),
            "HTTPS://A.Example.COM:443/": ("https://a.example.com",),
            "http://a.example.com:80,http://a.example.com:443": ("http://a.example.com", "http://a.example.com:443"),
            "http://[::1]:3000,http://[0:0::0:1]": ("http://[::1]:3000", "http://[::1]"),
            "http://my_app:03000": ("http://my_app:3000",),
            "capacitor://localhost,chrome-extension://abc": ("capacitor://localhost", "chrome-extension://abc"),
        },
        [
            *("*", "https://*.example.com", "https://a.example.com,*", "null", "a.example.com", "localhost:3000"),
            *(
                "https://a.example.com/x",
                "https://a.example.com//",
                "https://a.example.com?x",
                "https://u@a.example.com",
            ),
            *("https://a.example.com:x", "https://a.example.com:65536", "http://[::1", "http://[x]", "http://::1"),
            *("https://b\u00fccher.example", "https://", "file://", "https://a b", "^https://a$", "https://.*"),
        ],
    ),
    "TRUSTED_HOSTS": (
        "trusted_hosts",
        (),
        {
            "": (),
            "api.example.com, .local": ("api.example.com", ".local"),
            "API.Example.com.,.Example.COM": ("api.example.com", ".example.com"),
            "api.example.com:443,127.0.0.1:8000": ("api.example.com", "127.0.0.1"),
            "::1,[::1]:8000,[0:0::1]": ("[::1]", "[::1]", "[::1]"),
        },
        ["*", "*.example.com", "https://api.example.com", "a b", "b\u00fccher.example", "..local", "a/b"],
    ),
    "API_TOKENS": ("api_tokens", (), {"": (), "first, second,": ("first", "second")}, [",", " , "]),
    "JWT_SECRET": (
        "jwt_secret",
        None,
        {f" {SECRET} ": SECRET},
        ["", "x" * 31, PEM, '{"kty": "oct", "k": "eHh4eHh4eHh4eHh4eHh4"}'],
    ),
    "JWT_PUBLIC_KEY": (
        "jwt_public_key",
        None,
        {PEM: PEM, PEM.replace("\n", "\\n"): PEM.replace("\n", "\\n")},
        ["", SECRET, PEM[:-40], PEM.replace("PUBLIC", "PRIVATE"), "ssh-rsa AAAA"],
    ),
    "JWT_JWKS_URL": (
        "jwt_jwks_url",
        None,
        {"https://ann.example.com/jwks": "https://ann.example.com/jwks", "http://keys:8080/": "http://keys:8080/"},
        [
            "",
            "ann.example.com/jwks",
            "file:///etc/passwd",
            "ftp://a/b",
            "https://",
            "https://a b/",
            "https://\u00e9.example",
        ],
    ),
    "JWT_AUDIENCE": ("jwt_audience", (), {"tasks": ("tasks",), "a, b,": ("a", "b")}, ["", ",", " , "]),
    "JWT_ISSUER": ("jwt_issuer", None, {"https://ann.example.com/": "https://ann.example.com/"}, ["", " "]),
    "JWT_OWNER_CLAIM": ("jwt_owner_claim", "sub", {"https://a.example/org": "https://a.example/org"}, [""]),
    "JWT_LEEWAY": ("jwt_leeway", 5, {"0": 0, "600": 600}, ["", "-1", "601", "1.5", "soon"]),
    "TASKAPI_OWNER": ("taskapi_owner", "default", {"ann": "ann", "default": "default"}, ["", "a\tb", "x" * 256]),
    "METRICS": ("metrics", False, SWITCH, ["", "maybe"]),
    "LOG_LEVEL": ("log_level", "INFO", {"DEBUG": "DEBUG", "info": "INFO", "Warning": "WARNING"}, ["", "LOUD", "warn"]),
}

HANDED_DOWN = ["has_gunicorn_conf", "slots", "metrics_folder", "has_inherited_sockets"]
"""The fields that come from other processes, not from people."""

TAKES_ANYTHING = {
    *("API_TOKENS", "DATA_DIR", "JWT_SECRET", "JWT_AUDIENCE", "JWT_ISSUER", "JWT_OWNER_CLAIM", "TASKAPI_OWNER"),
}

TAKEN = [(name, text, value) for name, (_, _, taken, _) in VARIABLES.items() for text, value in taken.items()]
REFUSED = [(name, text) for name, (_, _, _, refused) in VARIABLES.items() for text in refused]


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """The sentence with which the settings are refused."""
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment()
    return str(refused.value)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of our variables is set, whatever the person who runs the tests has."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_every_field_has_its_variable_here() -> None:
    assert [*(field for field, *_ in VARIABLES.values()), *HANDED_DOWN] == list(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("environment", "values"),
    [
        ({}, [False, None, None, False]),
        ({"TASKAPI_SLOTS": ""}, [True, None, None, False]),
        ({"TASKAPI_SLOTS": "7"}, [True, 7, None, False]),
        ({"PROMETHEUS_MULTIPROC_DIR": "/tmp/figures"}, [False, None, "/tmp/figures", False]),
        ({"GUNICORN_FD": "5,6"}, [False, None, None, True]),
        ({"LISTEN_FDS": "1"}, [False, None, None, True]),
    ],
)
def test_what_other_processes_hand_down(
    environment: dict[str, str], values: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    settings = Settings.from_environment()
    assert [getattr(settings, field) for field in HANDED_DOWN] == values


@pytest.mark.parametrize("name", [name for name in VARIABLES if name != "WEB_CONCURRENCY"])
def test_default(name: str) -> None:
    field, default, *_ = VARIABLES[name]
    assert getattr(Settings.from_environment(), field) == default
    assert getattr(Settings(), field) == default


@pytest.mark.parametrize(("name", "text", "value"), TAKEN)
def test_taken(name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, text)
    if name in ("JWT_AUDIENCE", "JWT_ISSUER"):
        monkeypatch.setenv("JWT_SECRET", SECRET)
    assert getattr(Settings.from_environment(), VARIABLES[name][0]) == value


@pytest.mark.parametrize("name", ["JWT_AUDIENCE", "JWT_ISSUER"])
def test_what_tokens_must_have_needs_a_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sets it believes that the service is closed."""
    assert "JWT_AUDIENCE and JWT_ISSUER need a key" in refusal(monkeypatch, **{name: "tasks"})


def test_keys_come_from_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, JWT_SECRET=SECRET, JWT_JWKS_URL="https://ann.example.com/jwks")
    assert message == "JWT_SECRET and JWT_JWKS_URL are set: keep one of them (look into .env, too)."


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_refused_by_name(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, **{name: text})
    assert message.startswith(f"{name}:"), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("APP_ENV", "prod", "APP_ENV: 'prod' is not one of development, production."),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: 'loud' is not one of DEBUG, INFO, WARNING, ERROR."),
        ("PORT", "http", "PORT: 'http' is not a whole number from 1 to 65535."),
        ("MAX_BODY_BYTES", "1MiB", "MAX_BODY_BYTES: '1MiB' is not a whole number of at least 1."),
        ("REQUEST_DEADLINE", "", "REQUEST_DEADLINE: an empty value is not a number of seconds above 0."),
        ("METRICS", "perhaps\n", "METRICS: 'perhaps' is not true or false."),
        ("HOST", "0.0.0.0:80", "HOST: '0.0.0.0:80' is not an address to listen at, such as 0.0.0.0 or ::1."),
    ],
)
def test_a_refusal_says_what_is_allowed(name: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(monkeypatch, **{name: text}) == message


@pytest.mark.parametrize("name", [name for name, (*_, refused) in VARIABLES.items() if refused])
@pytest.mark.parametrize("secret", [URL, " ".join(["hunter2"] * 8)], ids=["a URL with a password", "something long"])
def test_a_refusal_shows_nothing_that_may_be_a_secret(name: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pasted behind the wrong name, it must not end up in a log.
    if name not in TAKES_ANYTHING:
        assert secret not in refusal(monkeypatch, **{name: secret})


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
    monkeypatch.setenv("APP_ENV", "Production")
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


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1:80"), ("::", "[::]:80"), ("::1", "[::1]:80"), ("a.b", "a.b:80")]
)
def test_the_address_is_that_of_a_url(host: str, address: str) -> None:
    assert Settings(host=host, port=80).address == address


# The .env file


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Call it to write a .env file into the project's folder, as which the test has one of its own."""
    monkeypatch.setattr(taskapi.settings, "BASE", tmp_path)
    monkeypatch.delenv("ENV_FILE", raising=False)

    def write(text: str) -> Path:
        file = tmp_path / ".env"
        file.write_bytes(text.encode("latin-1"))
        return file

    return write


Write = Callable[[str], Path]


def test_env_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"# mine\nPORT=8080\nexport LOG_LEVEL='debug'  # much\r\nDATABASE_URL=\"{URL}\"\n\nMETRICS=on\nOTHERS=1\n")
    monkeypatch.setenv("METRICS", "off")
    before = dict(os.environ)
    settings = Settings.from_environment()
    assert (settings.port, settings.log_level, settings.database_url) == (8080, "DEBUG", URL)
    assert not settings.metrics, "a variable of the environment wins"
    # Other processes of the service read the file themselves, also after it was changed.
    assert dict(os.environ) == before


def test_no_other_module_reads_the_environment_for_a_setting() -> None:
    others = {
        "environment.py",  # For the settings.
        "places.py",  # The desktop's folder for data, which is a default.
        "database/servers.py",  # libpq's own variables.
        "embedded.py",  # It forgets those, and passes on where libraries are.
        "role.py",  # It takes a password from the variable that it is told.
        "reload.py",  # It passes all on to the trial.
        "server/worker.py",  # It takes SCRIPT_NAME away from gunicorn.
    }
    package = ROOT / "taskapi"
    found = {str(file.relative_to(package)) for file in package.rglob("*.py") if "os.environ" in file.read_text()}
    assert found == others


def test_the_file_hands_nothing_down(write: Write) -> None:
    write("TASKAPI_SLOTS=7\nPROMETHEUS_MULTIPROC_DIR=/tmp/figures\n")
    assert Settings.from_environment() == Settings(workers=2)


def test_an_empty_variable_wins_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"DATABASE_URL={URL}\n")
    monkeypatch.setenv("DATABASE_URL", "")
    assert Settings.from_environment().database_url is None


def test_production_reads_no_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("PORT=8080\n")
    monkeypatch.setenv("APP_ENV", "Production")
    monkeypatch.setenv("DATABASE_URL", URL)
    assert Settings.from_environment().port == 8000
    # Who names a file expects it to count; tokens in it would leave the service open.
    assert refusal(monkeypatch, ENV_FILE=str(file)).startswith("ENV_FILE: ")


def test_another_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("PORT=8080\n")
    (tmp_path / "neon.env").write_text("PORT=9090\n")
    for name in ("neon.env", str(tmp_path / "neon.env")):
        monkeypatch.setenv("ENV_FILE", name)
        assert Settings.from_environment().port == 9090
    monkeypatch.setenv("ENV_FILE", "")
    assert Settings.from_environment().port == 8000
    assert "missing.env" in refusal(monkeypatch, ENV_FILE="missing.env")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PORT=http\n", ["PORT (in ", ".env): 'http' is not"]),
        ("PORT=8080\nLOG LEVEL=info\n", ["ENV_FILE: ", "line 2 of ", ".env"]),
        ("LOG_LEVEL='info\n", ["ENV_FILE: ", "line 1 of "]),
        ("LOG_LEVEL=\xfc\n", ["ENV_FILE: ", "UTF-8"]),
        ("APP_ENV=production\n", ["APP_ENV (in ", "development"]),
    ],
)
def test_a_wrong_file_is_refused(write: Write, text: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write(text)
    message = refusal(monkeypatch)
    assert all(word in message for word in words), message


def test_a_folder_of_that_name_is_not_read(tmp_path: Path, write: Write) -> None:
    (tmp_path / ".env").mkdir()
    assert Settings.from_environment().port == 8000


def test_the_example_is_taken_as_it_is_and_uncommented(tmp_path: Path, write: Write) -> None:
    example = (ROOT / ".env.example").read_text()
    write(example)
    assert Settings.from_environment() == Settings(workers=2)
    # All but the keys, of which only one may be set, and what needs them.
    write(re.sub(r"^# (?!JWT_[A-Z_]+=$)(?=[A-Z_]+=)", "", example, flags=re.MULTILINE))
    settings = Settings(database_url="postgresql://user:password@host/database", data_dir=tmp_path / ".data")
    assert Settings.from_environment() == settings


def test_no_process_that_a_test_starts_reads_the_file() -> None:
    own = Path(environment_of.__code__.co_filename)
    for file in (ROOT / "tests").rglob("*.py"):
        if file not in (own, Path(__file__)):
            assert not re.search(r"""environ\["PATH"\]""", file.read_text()), f"{file}: use environment_of()"
    assert environment_of()["ENV_FILE"] == ""
