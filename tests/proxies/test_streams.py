"""Server-sent events through a proxy: each one comes while the stream is open, and a silent stream stays."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.proxies.conftest import StartProxy
from tests.proxies.reverse_proxy import PROXIES, ReverseProxy
from tests.support.service import Service
from tests.support.waiting import wait_until

COMMENT = ": nothing new"


class Stream:
    """What curl has received of the changes so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", file: Path) -> None:
        self._process = process
        self._file = file

    @property
    def text(self) -> str:
        return self._file.read_text()

    @property
    def is_open(self) -> bool:
        return self._process.poll() is None


@contextmanager
def followed(proxy: ReverseProxy, version: str) -> Iterator[Stream]:
    """A stream by HTTP/1.1 or 2, which has begun."""
    assert shutil.which("curl"), "curl is not installed (on Debian: apt-get install curl)"
    file = proxy.folder / f"stream-{version}"
    with file.open("wb") as output:
        process = subprocess.Popen(
            [
                *("curl", "--silent", "--show-error", "--no-buffer", f"--http{version}"),
                *("--cacert", str(proxy.certificate), "-H", "Accept: text/event-stream"),
                f"{proxy.url}/api/v1/changes",
            ],
            stdout=output,
            stderr=output,
        )
    stream = Stream(process, file)
    try:
        wait_until(lambda: "retry: " in stream.text, "the stream has begun")
        yield stream
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_each_event_comes_at_once(proxy: ReverseProxy, version: str) -> None:
    client = proxy.client()
    with followed(proxy, version) as stream:
        for number in range(3):
            title = f"event {number} by HTTP/{version}"
            assert client.post("/api/v1/tasks", json={"title": title}).status_code == 201
            wait_until(lambda: title in stream.text, "the event is there, and the stream goes on")  # noqa: B023
            assert stream.is_open


def test_a_silent_stream_outlives_the_time_limits(instances: list[Service], start_proxy: StartProxy) -> None:
    """The service is silent for 15 s; with limits of 20 s instead of 60 s, more than that passes here, too."""
    one, two = (service.port for service in instances)
    short = {
        "nginx": {"proxy_read_timeout 60s": "proxy_read_timeout 20s"},
        "haproxy": {"timeout client 60s": "timeout client 20s", "timeout server 60s": "timeout server 20s"},
    }
    proxies = [start_proxy(kind, one, two, changes=short[kind]) for kind in PROXIES]
    with followed(proxies[0], "1.1") as first, followed(proxies[1], "1.1") as second:
        for stream in (first, second):
            wait_until(lambda: stream.text.count(COMMENT) == 2, "two times 15 s have passed", seconds=60)  # noqa: B023
            assert stream.is_open
