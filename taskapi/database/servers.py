"""The servers of DATABASE_URL, the order in which to try them, and how long to wait for each."""

import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar, cast

import psycopg2
import psycopg2.extensions as ext

LEAST_SHARE = 2.0
"""The minimum of seconds for each server, however many there are. libpq's manual calls less too short."""

SILENCE = 60.0
"""Seconds for which a server that did not answer comes after all others."""

SILENT_SHARE = 1.0
"""Seconds for such a server, while others answer: one of them may be the primary at any moment. Twice the time that the
last connection to it took, where that is longer."""

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


class Closes(Protocol):
    """What can be closed."""

    def close(self) -> None: ...


Opened = TypeVar("Opened", bound=Closes)


class DeadlinePassed(Exception):
    """The server did not answer in time."""


class NoSlot(Exception):
    """The service has as many connections to the server as it may have."""


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

    @property
    def name(self) -> tuple[str, str]:
        """The host as the URL has it, and the port. All addresses of a host have the same."""
        return self.host or self.hostaddr or "", self.port or ""

    def may_be(self, other: "Server | None") -> bool:
        """Whether it is this other server, or a name that may lead to it."""
        return other is not None and replace(self.place, hostaddr=self.hostaddr or other.hostaddr) == other.place

    def __str__(self) -> str:
        """The start of a sentence that says why connecting failed, like libpq's, which do not always get this far."""
        if self.needs_lookup:
            return f'could not translate host name "{self.host}" to address: '
        address = f" ({self.hostaddr})" if self.host and self.hostaddr not in (None, "", self.host) else ""
        host = self.host or self.hostaddr
        return f'connection to server at "{host}"{address}, port {self.port} failed: ' if host else ""


_silent: dict[Server, float] = {}
"""The servers that did not answer, and until when they come last, as a time.monotonic()."""

_primary: Server | None = None
"""The server that was opened last for writing: it comes first. An old primary that comes back takes writes, too."""

_took: dict[Server, float] = {}
"""Seconds that the last connection to a server took to open."""

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
    that was tried, and why it was not used; NoSlot if the only one had no slot. A server without one ends the search,
    unless it is silent: its slots may be held by connections that will never end.
    """
    global _primary  # noqa: PLW0603
    options = _options(url)
    limit = _limit(options)
    waiting = _servers(options)
    writes = options.get("target_session_attrs") in ("read-write", "primary")
    keeps_primary = writes and options.get("load_balance_hosts") != "random"
    failures: list[str] = []
    answered: set[tuple[str, str]] = set()
    is_full = False
    known = _primary
    while waiting and (now := time.monotonic()) < deadline:
        waiting.sort(key=lambda server: (is_silent(server), not (keeps_primary and server.may_be(_primary))))
        server = waiting.pop(0)
        share = max((deadline - now) / (len(waiting) + 1), LEAST_SHARE)
        is_short = is_silent(server) and bool(answered - {server.name})
        if is_short:
            share = min(share, max(SILENT_SHARE, 2 * _took.get(server.place, 0.0)))
        until = min(deadline, now + min(share, limit))
        try:
            if server.needs_lookup:
                waiting[:0] = _addressed(server, options, until)
                continue
            opened = open_({name: value for name, value in vars(server).items() if value is not None}, until)
        except DeadlinePassed:
            if not is_short:
                # After a minute it gets its whole share again: it may only be slow to connect to.
                remember_silence(server)
            failures.append(f"{server}no answer in {until - now:.1f} s")
        except NoSlot:
            is_full = True
            if not is_silent(server):
                break
        except psycopg2.Error as error:
            answered.add(server.name)
            text = " ".join(str(error).split())
            failures.append(text if text.startswith("connection to server") else f"{server}{text}")
            if _is_final(error):
                break
        else:
            if keeps_primary and _primary != known and not server.may_be(_primary):
                # Perhaps an old primary that stood still: while this one waited, another request has found the new one.
                opened.close()
                failures.append(f"{server}another server has become the primary meanwhile")
                continue
            _silent.pop(server.place, None)
            _took[server.place] = time.monotonic() - now
            if writes:
                _primary = server
            return opened
    raise _failure(failures, is_full)


def _failure(failures: list[str], is_full: bool) -> Exception:
    """Why no server was taken, in the order of the tries, each reason once: two passes may have had the same error."""
    if is_full and not failures:
        return NoSlot()
    if is_full:
        failures.append("all connections that the service may have to another server are in use")
    reason = "; ".join(dict.fromkeys(failures)) or "there was no time left to connect"
    return cast(Exception, psycopg2.OperationalError(reason))


def _limit(options: Mapping[str, str]) -> float:
    """The URL's connect_timeout in seconds. Raises psycopg2.OperationalError."""
    try:
        seconds = int(options.get("connect_timeout") or 0)
    except ValueError:
        raise psycopg2.OperationalError("connect_timeout: give a whole number of seconds") from None
    return seconds if seconds > 0 else math.inf


def _addressed(server: Server, options: Mapping[str, str], until: float) -> list[Server]:
    """The addresses of a host, each as a server. Raises as _look_up() does."""
    addresses = _look_up(str(server.host), until)
    if options.get("load_balance_hosts") == "random":
        random.shuffle(addresses)
    return [replace(server, hostaddr=address) for address in addresses]


def remember_silence(server: Server) -> None:
    """The server did not answer: for a while, others are tried before it."""
    now = time.monotonic()
    for place, until in list(_silent.items()):
        if until < now:
            _silent.pop(place, None)
    _silent[server.place] = now + SILENCE


def is_primary(server: Server) -> bool:
    """Whether the server is the one that was opened last where DATABASE_URL asks for one that takes writes."""
    return server.place == (_primary and _primary.place)


def number(url: str, server: Server) -> int:
    """The server's number among the hosts of the URL: the same in all processes that have this URL."""
    return sorted({server.name, *(one.name for one in _servers(_options(url)))}).index(server.name)


def is_silent(server: Server) -> bool:
    """Whether the server did not answer a moment ago, and has not been reached since."""
    return _silent.get(server.place, 0.0) > time.monotonic()


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
