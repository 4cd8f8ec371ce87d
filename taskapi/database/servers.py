"""The servers of DATABASE_URL, the order in which to try them, and how long to wait for each."""

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
"""The minimum of seconds for each server, however many there are. libpq's manual calls less too short."""

SILENCE = 60.0
"""Seconds for which a server that did not answer comes after all others."""

ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "service": "PGSERVICE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}
"""The variables that libpq reads for what the URL does not say."""

Opened = TypeVar("Opened")


class DeadlinePassed(Exception):
    """The server did not answer in time."""


@dataclass(frozen=True)
class Server:
    """One server, as libpq's parameters. None: as the URL, the environment or libpq says."""

    host: str | None = None
    hostaddr: str | None = None
    port: str | None = None
    target_session_attrs: str | None = None

    @property
    def needs_lookup(self) -> bool:
        """Whether the host is a name that needs an address."""
        return bool(self.host) and not self.hostaddr and not str(self.host).startswith(("/", "@"))

    @property
    def place(self) -> "Server":
        """The same server, without target_session_attrs."""
        return replace(self, target_session_attrs=None)

    def __str__(self) -> str:
        """The start of a sentence that says why connecting failed, like libpq's, which do not always get this far."""
        if self.needs_lookup:
            return f'could not translate host name "{self.host}" to address: '
        address = f" ({self.hostaddr})" if self.host and self.hostaddr not in (None, "", self.host) else ""
        host = self.host or self.hostaddr
        return f'connection to server at "{host}"{address}, port {self.port} failed: ' if host else ""


_silent: dict[Server, float] = {}
"""The servers that did not answer, and until when they come last, as a time.monotonic()."""

_lookups: dict[str, Future[list[str]]] = {}
"""The running lookups, by name."""


def first(url: str, deadline: float, open_: Callable[[Mapping[str, str], float], Opened]) -> Opened:
    """Return `open_(parameters, until)` for the first of the URL's servers for which it raises no error.

    The rules are libpq's, with a time limit that libpq itself keeps only if it may block. Hosts are tried in order, or
    at random with load_balance_hosts, and every address of each host. target_session_attrs chooses among them. Each
    server has its share of the time that is left, and at most the URL's connect_timeout. A server that answers with an
    error ends the search, unless it is starting or ending.
    https://www.postgresql.org/docs/current/libpq-connect.html

    `until` and `deadline` are time.monotonic() in seconds. Raises psycopg2.OperationalError, which names each server
    that was tried, and why it was not used.
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
    # In the order of the tries, each once: two passes may have had the same error.
    raise psycopg2.OperationalError("; ".join(dict.fromkeys(failures)) or "there was no time left to connect")


def _remember(silent: Server) -> None:
    now = time.monotonic()
    for place, until in list(_silent.items()):
        if until < now:
            _silent.pop(place, None)
    _silent[silent] = now + SILENCE


def _is_final(error: psycopg2.Error) -> bool:
    """Whether the error ends the search: a wrong password, for example, is wrong for all servers."""
    text = str(error)
    # libpq puts the server's severity, in any language, before two blanks. Its own errors have no severity.
    has_spoken = error.pgcode is not None or ":  " in text
    return has_spoken and "the database system is" not in text and not (error.pgcode or "").startswith("57P")


def _options(url: str) -> dict[str, str]:
    """The options that libpq will read from the URL, the service file and the environment, in this order."""
    given = ext.parse_dsn(url)
    known = {name: os.environ[variable] for name, variable in ENVIRONMENT.items() if variable in os.environ}
    service = given.get("service") or known.get("service")
    return {**known, **(_service(service) if service else {}), **given}


def _service(name: str) -> dict[str, str]:
    """The section of a service file: https://www.postgresql.org/docs/current/libpq-pgservice.html."""
    personal = Path(os.environ.get("PGSERVICEFILE") or Path.home() / ".pg_service.conf")
    system = Path(os.environ.get("PGSYSCONFDIR") or "/etc/postgresql-common") / "pg_service.conf"
    for path in (personal, system):
        if path.is_file():
            lines = [line.strip() for line in path.read_text().splitlines()]
            if f"[{name}]" in lines:
                return dict(_section(lines[lines.index(f"[{name}]") + 1 :]))
    # It is in a place that only libpq knows. Then libpq looks up the names, too.
    return {"host": "", "hostaddr": ""}


def _section(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line.startswith("["):
            return
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


def _servers(options: Mapping[str, str]) -> list[Server]:
    """The hosts, before their lookup."""
    hosts, addresses, ports = (options.get(name, "").split(",") for name in ("host", "hostaddr", "port"))
    count = max(len(hosts), len(addresses))
    if not any(hosts + addresses) or any(len(given) not in (1, count) for given in (hosts, addresses, ports)):
        # libpq's default server, or lists of different lengths, which libpq explains.
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

    The system's lookup has no time limit. So it runs in a thread, one for each name, however many requests wait for it.
    In a gevent worker, the thread is a greenlet, and the lookup runs in a native thread of gevent.
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
        # As bytes: Python refuses some text that the system accepts.
        found = socket.getaddrinfo(host.encode(), None, type=socket.SOCK_STREAM)
        lookup.set_result(list(dict.fromkeys(str(address[0]) for *_, address in found)))
    except OSError as error:
        lookup.set_exception(error)
    finally:
        del _lookups[host]
