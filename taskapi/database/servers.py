"""Which servers DATABASE_URL means, in which order to try them, and how long to wait for each."""

import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import psycopg2
import psycopg2.extensions as ext

LEAST_SHARE = 2.0
"""Seconds that each server gets at the least, however many there are: less is too short, says libpq's manual."""

SILENCE = 60.0
"""Seconds for which a server that did not answer is tried after all others."""

ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "service": "PGSERVICE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}
"""Where libpq finds what the URL does not say."""

Opened = TypeVar("Opened")


class DeadlinePassed(Exception):
    """The server did not answer in time."""


@dataclass(frozen=True)
class Server:
    """One place to connect to, as libpq's parameters. None leaves it to the URL, the environment and libpq."""

    host: str | None = None
    hostaddr: str | None = None
    port: str | None = None
    target_session_attrs: str | None = None

    @property
    def needs_lookup(self) -> bool:
        """Whether the host is a name without an address yet."""
        return bool(self.host) and not self.hostaddr and not str(self.host).startswith(("/", "@"))

    @property
    def place(self) -> "Server":
        """The same, whatever is wanted of it."""
        return replace(self, target_session_attrs=None)

    def __str__(self) -> str:
        """How a sentence begins that says why it did not work: as libpq's do, which do not always come this far."""
        if self.needs_lookup:
            return f'could not translate host name "{self.host}" to address: '
        address = f" ({self.hostaddr})" if self.host and self.hostaddr not in (None, "", self.host) else ""
        host = self.host or self.hostaddr
        return f'connection to server at "{host}"{address}, port {self.port} failed: ' if host else ""


_silent: dict[Server, float] = {}
"""The servers that did not answer, and until when (time.monotonic()) they come last."""

_lookups: dict[str, Future[list[str]]] = {}
"""The lookups that are under way, by name."""


def first(url: str, deadline: float, open_: Callable[[Mapping[str, str], float], Opened]) -> Opened:
    """Return `open_(parameters, until)` for the first of the URL's servers where that raises no error.

    libpq's rules, with a limit that libpq itself only keeps where it may block: hosts are tried in order, or at random
    with load_balance_hosts, and every address of each; target_session_attrs chooses among them; each has its share of
    the time that is left, and no more than the URL's connect_timeout. A server that says why it refuses ends the
    search, unless it is starting or ending. https://www.postgresql.org/docs/current/libpq-connect.html

    `until` and `deadline` are time.monotonic() in seconds. Raises psycopg2.OperationalError, which names every server
    that was tried, and why it was not taken.
    """
    options = _options(url)
    try:
        limit = int(options.get("connect_timeout") or 0)
    except ValueError:
        raise psycopg2.OperationalError("connect_timeout: give a whole number of seconds") from None
    waiting = _servers(options)
    failures: list[str] = []
    while waiting and (now := time.monotonic()) < deadline:
        waiting.sort(key=lambda server: _silent.get(server.place, 0.0) > now)
        server = waiting.pop(0)
        share = max((deadline - now) / (len(waiting) + 1), LEAST_SHARE)
        until = min(deadline, now + (min(share, limit) if limit > 0 else share))
        try:
            if server.needs_lookup:
                addresses = _look_up(str(server.host), until)
                if options.get("load_balance_hosts") == "random":
                    random.shuffle(addresses)
                waiting[:0] = [replace(server, hostaddr=address) for address in addresses]
                continue
            opened = open_({name: value for name, value in vars(server).items() if value is not None}, until)
        except DeadlinePassed:
            _remember(server.place)
            failures.append(f"{server}no answer in {until - now:.1f} s")
        except psycopg2.Error as error:
            text = " ".join(str(error).split())
            failures.append(text if text.startswith("connection to server") else f"{server}{text}")
            if _is_final(error):
                break
        else:
            _silent.pop(server.place, None)
            return opened
    # In the order in which they were tried, each once: two passes may have met the same refusal.
    raise psycopg2.OperationalError("; ".join(dict.fromkeys(failures)) or "there was no time left to connect")


def _remember(silent: Server) -> None:
    now = time.monotonic()
    for place, until in list(_silent.items()):
        if until < now:
            _silent.pop(place, None)
    _silent[silent] = now + SILENCE


def _is_final(error: psycopg2.Error) -> bool:
    """Whether a server has spoken for all: one that asks for another password, say, will not be alone in that."""
    text = str(error)
    # libpq puts the server's severity, in whatever language, before two blanks; its own words have no severity.
    has_spoken = error.pgcode is not None or ":  " in text
    return has_spoken and "the database system is" not in text and not (error.pgcode or "").startswith("57P")


def _options(url: str) -> dict[str, str]:
    """What libpq will read of the URL, of the service file and of the environment, in this order."""
    given = ext.parse_dsn(url)
    known = {name: os.environ[variable] for name, variable in ENVIRONMENT.items() if variable in os.environ}
    service = given.get("service") or known.get("service")
    return {**known, **(_service(service) if service else {}), **given}


def _service(name: str) -> dict[str, str]:
    """What a service file says: https://www.postgresql.org/docs/current/libpq-pgservice.html."""
    personal = Path(os.environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf")
    system = Path(os.environ.get("PGSYSCONFDIR") or "/etc/postgresql-common") / "pg_service.conf"
    for path in (personal, system):
        if path.is_file():
            lines = [line.strip() for line in path.read_text().splitlines()]
            if f"[{name}]" in lines:
                return dict(_section(lines[lines.index(f"[{name}]") + 1 :]))
    # In a place that only libpq knows: it then looks up the names itself, too.
    return {"host": "", "hostaddr": ""}


def _section(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line.startswith("["):
            return
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


def _servers(options: Mapping[str, str]) -> list[Server]:
    """The hosts, not looked up yet."""
    hosts, addresses, ports = (options.get(name, "").split(",") for name in ("host", "hostaddr", "port"))
    count = max(len(hosts), len(addresses))
    if not any(hosts + addresses) or any(len(given) not in (1, count) for given in (hosts, addresses, ports)):
        # Only libpq's default place; or lists that do not match, which libpq explains.
        return [Server()]
    hosts, addresses, ports = (given * count if len(given) == 1 else given for given in (hosts, addresses, ports))
    servers = [
        Server(host, address, port or "5432") for host, address, port in zip(hosts, addresses, ports, strict=True)
    ]
    if options.get("load_balance_hosts") == "random":
        random.shuffle(servers)
    if options.get("target_session_attrs") == "prefer-standby":
        return [replace(server, target_session_attrs=wish) for wish in ("standby", "any") for server in servers]
    return servers


def _look_up(host: str, until: float) -> list[str]:
    """The addresses of a host, in the system's order. Raises DeadlinePassed, or psycopg2.OperationalError.

    The system's lookup waits as long as it likes. So it runs in a thread, one for each name however many wait for it;
    in a gevent worker that is a greenlet, and the lookup a native thread of gevent's.
    """
    mine: Future[list[str]] = Future()
    lookup = _lookups.setdefault(host, mine)
    if lookup is mine:
        try:
            threading.Thread(target=_run_lookup, args=(host, mine), daemon=True).start()
        except RuntimeError:  # no more threads
            del _lookups[host]
            raise
    try:
        return list(lookup.result(max(0.0, until - time.monotonic())))
    except TimeoutError:
        raise DeadlinePassed from None
    except OSError as error:
        raise psycopg2.OperationalError(error.strerror) from None


def _run_lookup(host: str, lookup: Future[list[str]]) -> None:
    try:
        # As bytes: Python would refuse as text what the system takes.
        found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
        lookup.set_result(list(dict.fromkeys(str(address[0]) for *_, address in found)))
    except OSError as error:
        lookup.set_exception(error)
    finally:
        del _lookups[host]
