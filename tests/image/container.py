"""A container of the image, run by runc as Docker and Kubernetes run one that has been given no rights at all."""

import json
import platform
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from tests.image.image import Image
from tests.support.closing import Closing
from tests.support.waiting import wait_until

SECCOMP = Path("/usr/share/containers/seccomp.json")
"""The filter of system calls that containers get by default; buildah depends on its package."""

TMPFS = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}

MOUNTS: dict[str, dict[str, Any]] = {
    "/proc": {"type": "proc", "source": "proc"},
    "/sys": {"type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    "/dev": {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    "/dev/shm": {
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
}

TMPFS = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]}

_numbers = count(1)


class Container(Closing):
    """From its start until close(): read-only, without capabilities, with the image's own user and command.

    It is in the machine's network, where PORT says which port is its own.
    """

    def __init__(
        self,
        image: Image,
        folder: Path,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        tmpfs: Sequence[str] = (),
        memory: int | None = None,
    ) -> None:
        """Start it, with the image's own command if none is given. `memory`: bytes that its processes may have."""
        self._name = f"taskapi-test-{next(_numbers)}-{time.monotonic_ns()}"
        self._runc = ("runc", f"--root={folder / 'runc'}")
        bundle = folder / self._name
        bundle.mkdir()
        hosts = bundle / "hosts"
        hosts.write_text("127.0.0.1 localhost db\n")
        variables = dict(pair.split("=", 1) for pair in image.config["Env"]) | dict(environment)
        user, _, group = image.config["User"].partition(":")
        mounts = {**MOUNTS, **dict.fromkeys(tmpfs, TMPFS)}
        mounts["/etc/hosts"] = {"type": "bind", "source": str(hosts), "options": ["bind", "ro"]}
        specification = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": int(user), "gid": int(group)},
                "args": list(command) or image.config["Cmd"],
                "env": [f"{name}={value}" for name, value in variables.items()],
                "cwd": image.config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(image.root), "readonly": True},
            "mounts": [{"destination": path, **mount} for path, mount in mounts.items()],
            "linux": {
                "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
                "seccomp": _default_seccomp(),
                "resources": {"memory": {"limit": memory}} if memory else {},
            },
        }
        (bundle / "config.json").write_text(json.dumps(specification))
        self._log = bundle / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self._runc, "run", f"--bundle={bundle}", self._name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self._log.read_text(errors="replace")

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end; return its exit code."""
        return self._process.wait(seconds)

    def wait_until_ready(self) -> None:
        """Return when the service says that it is ready."""

        def is_ready() -> bool:
            assert self._process.poll() is None, f"it has ended with {self._process.returncode}:\n{self.log}"
            return "taskapi is ready" in self.log

        wait_until(is_ready, "the service in the container is ready", seconds=120)

    def kill(self, number: signal.Signals) -> None:
        """Send the signal to its first process, as `docker kill --signal` does."""
        subprocess.run([*self._runc, "kill", self._name, number.name], check=True)

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run one more process in it, as `docker exec` does, and HEALTHCHECK."""
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        return subprocess.run(
            [*self._runc, "exec", *variables, self._name, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def processes(self) -> list[int]:
        """The machine's numbers of its processes, the first one's first."""
        done = subprocess.run([*self._runc, "ps", "--format=json", self._name], capture_output=True, check=True)
        return sorted(json.loads(done.stdout) or [])

    def close(self) -> None:
        """End it at once, with all its processes."""
        subprocess.run([*self._runc, "delete", "--force", self._name], capture_output=True)
        self._process.wait(30)


def _default_seccomp() -> dict[str, Any]:
    """The default filter for a container without capabilities, in the form that runc reads."""
    profile = json.loads(SECCOMP.read_text())
    syscalls = [
        {key: value for key, value in rule.items() if key in ("names", "action", "args", "errnoRet") and value}
        for rule in profile["syscalls"]
        if not rule.get("includes", {}).get("caps")
    ]
    return {
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": [f"SCMP_ARCH_{platform.machine().upper()}"],
        "syscalls": syscalls,
    }
