"""A real browser that finds no host but this machine, told what to do over the DevTools protocol."""

import json
import os
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.support.closing import Closing

NAMES = ("chromium", "chromium-browser", "google-chrome")

OPTIONS = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1400,1000",
    # It refuses root otherwise; and it only ever shows our own pages.
    "--no-sandbox",
]


# The browser reads from file descriptor 3 and writes to 4.
TO_3_AND_4 = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def requires_chromium() -> str:
    """The browser's program. Without it the test fails: what it would show is not shown."""
    for name in NAMES:
        if program := shutil.which(name):
            return program
    pytest.fail("chromium is not installed: apt-get install chromium")


class Page(Closing):
    """One page of a browser of its own; what it asked for and what went wrong is kept."""

    def __init__(self, folder: Path) -> None:
        self.requested: list[str] = []
        self.errors: list[str] = []
        self._number = 0
        self._session: dict[str, str] = {}
        browser_reads, our_writes = os.pipe()
        our_reads, browser_writes = os.pipe()
        command = [requires_chromium(), *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", TO_3_AND_4, str(browser_reads), str(browser_writes), *command],
            pass_fds=(browser_reads, browser_writes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_reads)
        os.close(browser_writes)
        self._writer: BinaryIO = os.fdopen(our_writes, "wb", buffering=0)
        self._reader: BinaryIO = os.fdopen(our_reads, "rb")

        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = {
                "sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            }
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._writer.close()
        self._reader.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have the browser do something; return its answer. Events that come before it are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._writer.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer}"
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, awaited where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for_text(self, text: str, *, seconds: float = 60.0) -> str:
        """The page's text, as soon as `text` is in it."""
        deadline = time.monotonic() + seconds
        while text not in (seen := str(self.evaluate("document.body ? document.body.innerText : ''"))):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {text!r}; {self.errors}; {seen[:500]}"
            time.sleep(0.05)
        return seen

    def screenshot(self, path: Path) -> None:
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _next(self) -> dict[str, Any]:
        message = bytearray()
        while (byte := self._reader.read(1)) != b"\0":
            assert byte, f"the browser ended with {self._process.wait()}"
            message += byte
        event: dict[str, Any] = json.loads(message)
        return event

    def _note(self, event: dict[str, Any]) -> None:
        method, what = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(what["request"]["url"])
        elif method == "Network.loadingFailed":
            self.errors.append(f"loading failed: {what}")
        elif method == "Runtime.exceptionThrown":
            self.errors.append(f"exception: {what}")
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.errors.append(f"console: {what}")
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"log: {what['entry']}")
