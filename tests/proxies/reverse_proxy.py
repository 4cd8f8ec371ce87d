"""nginx and HAProxy as deploy/ configures them: started for real, with other addresses, files and ports."""

import os
import shutil
import signal
import ssl
import subprocess
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx

from taskapi.places import ROOT
from tests.support.closing import Closing
from tests.support.embedded import ids
from tests.support.jwts import certificate
from tests.support.service import free_port
from tests.support.waiting import START, wait_until

# Where Debian has them; an ordinary user's PATH has no sbin.
PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin"

NGINX = """
daemon off;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/nginx.conf;
}}
"""
"""What Debian's own nginx.conf says around the file, as far as it is needed."""


class ReverseProxy(Closing):
    """A running proxy in front of two ports. `identity` is who starts it: "root", or an ordinary user."""

    name: str
    package: str

    def __init__(
        self, folder: Path, one: int, two: int, *, identity: str = "root", changes: Mapping[str, str] | None = None
    ) -> None:
        """`changes`: more texts of the file to be replaced, each by another one. All must be there."""
        program = shutil.which(self.name, path=PATH)
        assert program, f"{self.name} is not installed (on Debian: apt-get install {self.package})"
        self.program = program
        self.folder = folder
        self.port, self.http_port = free_port(), free_port()
        self._clients: list[httpx.Client] = []
        self._user, self._group = ids(identity)
        self.log_file = folder / "log"
        self.log_file.touch()
        self.certificate = certificate(folder)
        self.tls = ssl.create_default_context(cafile=str(self.certificate))
        self.tls.set_alpn_protocols(["http/1.1"])
        text = (ROOT / "deploy" / self.file).read_text()
        for old, new in {**self.replacements(one, two, identity), **(changes or {})}.items():
            assert old in text, f"deploy/{self.file} has no {old!r} any more"
            text = text.replace(old, new)
        self.configuration = folder / self.file
        self.configuration.write_text(text)
        self.prepare()
        for path in (folder, *folder.iterdir()):
            os.chown(path, self._user, self._group)
        self._output = folder / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command(),
                user=self._user,
                group=self._group,
                extra_groups=[] if os.geteuid() == 0 else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(self._listens, f"{self.name} listens", seconds=START)
        except AssertionError as error:
            self.close()
            error.add_note(self.output)
            raise

    file: str

    @abstractmethod
    def replacements(self, one: int, two: int, identity: str) -> dict[str, str]:
        """The addresses, files and ports of the file, and those of the test."""

    def prepare(self) -> None:
        """Write what else it needs."""

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it, in the foreground."""

    @abstractmethod
    def check(self) -> str:
        """What its own check of the configuration says."""

    @abstractmethod
    def reload(self) -> None:
        """Reload as its systemd unit does; return when the new configuration serves."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text(errors="replace")

    @property
    def log(self) -> str:
        """A line for each request."""
        return self.log_file.read_text(errors="replace")

    def client(self) -> httpx.Client:
        """A client that trusts the certificate."""
        client = httpx.Client(base_url=self.url, verify=self.tls, trust_env=False, timeout=40.0)
        self._clients.append(client)
        return client

    def children(self) -> list[int]:
        """The processes that serve."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in found.split()]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.output
        try:
            return httpx.get(f"{self.url}/listens", verify=self.tls, trust_env=False).status_code > 0
        except httpx.TransportError:
            return False


class Nginx(ReverseProxy):
    """nginx with deploy/nginx.conf."""

    name, package, file = "nginx", "nginx-light", "nginx.conf"

    def replacements(self, one: int, two: int, identity: str) -> dict[str, str]:
        return {
            "127.0.0.1:8001": f"127.0.0.1:{one}",
            "127.0.0.1:8002": f"127.0.0.1:{two}",
            "    listen 80;": f"    listen 127.0.0.1:{self.http_port};",
            "    listen [::]:80;\n": "",
            "    listen 443 ssl http2;": f"    listen 127.0.0.1:{self.port} ssl http2;",
            "    listen [::]:443 ssl http2;\n": "",
            "/etc/ssl/tasks.example.com/fullchain.pem": str(self.certificate),
            "/etc/ssl/tasks.example.com/privkey.pem": str(self.certificate),
            "/var/log/nginx/taskapi.log": str(self.log_file),
        }

    def prepare(self) -> None:
        (self.folder / "main.conf").write_text(NGINX.format(folder=self.folder))

    def command(self) -> list[str]:
        return [self.program, "-e", "stderr", "-c", str(self.folder / "main.conf")]

    def check(self) -> str:
        done = subprocess.run(
            [*self.command(), "-t"], user=self._user, group=self._group, capture_output=True, text=True, check=True
        )
        return done.stdout + done.stderr

    def reload(self) -> None:
        before = set(self.children())
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: set(self.children()) - before, "nginx has new workers")


class Haproxy(ReverseProxy):
    """HAProxy with deploy/haproxy.cfg."""

    name, package, file = "haproxy", "haproxy", "haproxy.cfg"

    def replacements(self, one: int, two: int, identity: str) -> dict[str, str]:
        return {
            "127.0.0.1:8001": f"127.0.0.1:{one}",
            "127.0.0.1:8002": f"127.0.0.1:{two}",
            "bind :80": f"bind 127.0.0.1:{self.http_port}",
            "bind :443 ssl": f"bind 127.0.0.1:{self.port} ssl",
            "/etc/haproxy/certs/tasks.example.com.pem": str(self.certificate),
            "    log /dev/log local0": "    log stdout format raw local0",
            # Only root can become another user.
            **({} if identity == "root" and os.geteuid() == 0 else {"    user haproxy\n    group haproxy\n": ""}),
        }

    def command(self) -> list[str]:
        return [self.program, "-W", "-db", "-f", str(self.configuration)]

    def check(self) -> str:
        done = subprocess.run(
            [self.program, "-c", "-f", str(self.configuration)],
            user=self._user,
            group=self._group,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout + done.stderr

    def reload(self) -> None:
        loaded = self.output.count("Loading success")
        self.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: self.output.count("Loading success") > loaded, "HAProxy has a new worker")

    @property
    def log(self) -> str:
        return self.output


PROXIES: dict[str, type[ReverseProxy]] = {"nginx": Nginx, "haproxy": Haproxy}
