"""The cluster of docs/high-availability.md, made of the files in deploy/: three nodes, each with its own address."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from taskapi import identity
from taskapi.embedded import find_binaries
from taskapi.places import ROOT
from tests.cluster.keeper import processes, signal_all
from tests.support.environment import environment_of
from tests.support.service import free_port
from tests.support.waiting import START, wait_until

PATRONI = Path(sys.prefix) / "cluster/bin/patroni"
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"

MISSING = "; ".join(
    f"{program} is not installed ({remedy})"
    for program, remedy in (
        ("etcd", "on Debian: apt-get install etcd-server"),
        ("haproxy", "on Debian: apt-get install haproxy"),
        (str(PATRONI), "`make cluster` installs it"),
    )
    if not shutil.which(program, path=PATH)
)

ADDRESSES = {"node1": "127.0.0.1", "node2": "127.0.0.2", "node3": "127.0.0.3"}

SECRETS = {f"{name}_PASSWORD": secrets.token_hex(16) for name in ("SUPERUSER", "REPLICATION", "REWIND", "RESTAPI")}

SYNCHRONOUS = {"sync_standby", "quorum_standby"}
"""What Patroni calls a standby that may be the next primary, by its synchronous_mode."""


def filled(name: str, fills: Mapping[str, str]) -> str:
    """A file of deploy/ with its words in capitals filled in, and with places and ports of this machine."""
    text = (ROOT / "deploy" / name).read_text()
    pattern = "|".join(re.escape(old) for old in sorted(fills, key=len, reverse=True))
    text = re.sub(pattern, lambda found: fills[found[0]], text)
    assert not (left := re.findall(r"\bNODE_\w+|\bADDRESS_\w+|\b[A-Z]+_PASSWORD", text)), left
    return text


class Node:
    """A machine with a member of etcd, with Patroni and its PostgreSQL. All its processes work in its folder."""

    def __init__(self, name: str, folder: Path, fills: Mapping[str, str], user: identity.Identity) -> None:
        self._user = user
        self._folder = folder / name
        self._folder.mkdir()
        fills = {
            **fills,
            "NODE_NAME": name,
            "NODE_ADDRESS": ADDRESSES[name],
            "/var/lib/postgresql/18/taskapi": str(self._folder / "postgres"),
            "/var/run/postgresql": str(self._folder),
            "/var/lib/etcd/taskapi": str(self._folder / "etcd"),
        }
        lines = filled("etcd.env", fills).splitlines()
        self._etcd = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        self._configuration = self._folder / "patroni.yml"
        self._configuration.write_text(filled("patroni.yml", fills))
        user.own(self._folder)

    def start(self) -> None:
        """As systemd does when the machine starts."""
        launch(self._folder, self._user, "etcd", **self._etcd)
        self.start_patroni()

    def ctl(self, *arguments: str) -> str:
        """What patronictl prints."""
        done = subprocess.run(
            [*self._user.wrapper, str(PATRONI.with_name("patronictl")), "-c", str(self._configuration), *arguments],
            cwd=self._folder,
            env=environment_of(HOME=str(self._folder), LC_ALL="C.UTF-8"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **self._user.options,
        )
        assert done.returncode == 0, done.stdout
        return str(done.stdout)

    def signal(self, number: signal.Signals) -> None:
        """To all processes of the machine."""
        signal_all(self._folder, number)

    def kill_postgres(self) -> None:
        """The postmaster and its children, with kill -9. Patroni lives on."""
        signal_all(self._folder / "postgres", signal.SIGKILL)

    def kill_patroni(self) -> None:
        """Only Patroni, with kill -9. Its PostgreSQL and its etcd live on."""
        for process in processes(self._folder):
            if str(self._configuration).encode() in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"):
                os.kill(process, signal.SIGKILL)

    def start_patroni(self) -> None:
        """It finds its PostgreSQL."""
        launch(self._folder, self._user, str(PATRONI), str(self._configuration))

    @property
    def log(self) -> str:
        """What Patroni, PostgreSQL and etcd have printed."""
        return (self._folder / "log").read_text(errors="replace")


class Cluster:
    """The nodes, and HAProxy, which leads to the primary."""

    def __init__(self, folder: Path) -> None:
        """Everything that it starts works in the folder, which others may enter."""
        self._ports = {name: str(free_port()) for name in ("5432", "8008", "2379", "2380", "5000")}
        fills = {
            **SECRETS,
            **{f"ADDRESS_{name[-1]}": address for name, address in ADDRESSES.items()},
            **{f":{usual}": f":{port}" for usual, port in self._ports.items()},
            "port 8008": f"port {self._ports['8008']}",
            "/usr/lib/postgresql/18/bin": str(find_binaries()),
        }
        user = identity.choose(PATRONI, folder, folder / "data")
        self.nodes = {name: Node(name, folder, fills, user) for name in ADDRESSES}
        for node in self.nodes.values():
            node.start()
        configuration = folder / "haproxy.cfg"
        configuration.write_text(filled("haproxy-postgres.cfg", fills))
        launch(folder, user, "haproxy", "-db", "-f", str(configuration))

    @property
    def proxy(self) -> str:
        """HAProxy's place, as in a URL."""
        return f"127.0.0.1:{self._ports['5000']}"

    @property
    def places(self) -> dict[str, str]:
        """Those of the nodes' PostgreSQLs."""
        return {name: f"{address}:{self._ports['5432']}" for name, address in ADDRESSES.items()}

    def superuser(self, node: str, database: str = "postgres") -> str:
        """The direct address of a database on one node, for somebody who may do everything."""
        return f"postgresql://postgres:{SECRETS['SUPERUSER_PASSWORD']}@{self.places[node]}/{database}"

    def switch_over(self) -> None:
        """Ask for it as patronictl does: let the synchronous standby be the primary. Return when it is."""
        primary = self.primary()
        answer = httpx.post(
            f"http://{ADDRESSES[primary]}:{self._ports['8008']}/switchover",
            json={"leader": primary, "candidate": self.standby()},
            auth=("patroni", SECRETS["RESTAPI_PASSWORD"]),
            timeout=60,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text

    def primary(self) -> str:
        """Its node."""
        return next(str(member["name"]) for member in self._members() if member["role"] == "leader")

    def standby(self) -> str:
        """A node that may be the next primary."""
        return next(str(member["name"]) for member in self._members() if member["role"] in SYNCHRONOUS)

    def answers_as_primary(self, node: str) -> bool:
        """Whether HAProxy would lead there."""
        url = f"http://{ADDRESSES[node]}:{self._ports['8008']}/primary"
        return httpx.get(url, timeout=10, trust_env=False).status_code == 200

    def wait_until_whole(self) -> None:
        """Return when there is a primary, and two standbys follow it, one of them synchronously."""

        def is_whole() -> bool:
            time.sleep(0.2)
            members = self._members()
            roles = [member["role"] for member in members]
            return (
                sorted(member["state"] for member in members) == ["running", "streaming", "streaming"]
                and len({member["timeline"] for member in members}) == 1
                and "leader" in roles
                and not SYNCHRONOUS.isdisjoint(roles)
            )

        wait_until(is_whole, "the cluster is whole", seconds=START)

    def _members(self) -> list[dict[str, Any]]:
        """What a Patroni that answers knows of all."""
        for address in ADDRESSES.values():
            try:
                answer = httpx.get(f"http://{address}:{self._ports['8008']}/cluster", timeout=3, trust_env=False)
                members: list[dict[str, Any]] = answer.json()["members"]
            except (httpx.HTTPError, ValueError, KeyError):
                continue
            return members
        return []


def launch(folder: Path, user: identity.Identity, *command: str, **environment: str) -> None:
    """Start a program that works in the folder, and prints into the file `log` there. It is nobody's child."""
    with (folder / "log").open("ab") as log:
        subprocess.run(
            ["setsid", "--fork", *user.wrapper, *command],
            cwd=folder,
            env={**environment_of(PATH=PATH, HOME=str(folder), LC_ALL="C.UTF-8"), **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
            **user.options,
        )
