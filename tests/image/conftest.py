"""What the tests of the image need beyond Python: buildah, debootstrap, runc, and root. Without them, they fail."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol

import pytest

from tests.faults.conftest import figure, pytest_terminal_summary  # noqa: F401  # They show what was measured.
from tests.image.container import Container
from tests.image.database import Passworded, passworded
from tests.image.image import Image, built
from tests.image.store import opened
from tests.support.folders import short_folder


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    """The image of this code."""
    with opened(), short_folder() as folder, built(folder) as image:
        yield image


@pytest.fixture(scope="session")
def server() -> Iterator[Passworded]:
    """The PostgreSQL of all containers."""
    with passworded() as server:
        yield server


@pytest.fixture(scope="module")
def owner_url(server: Passworded) -> Iterator[str]:
    """The URL of an owner of an empty database, which one file's tests share."""
    with server.database() as url:
        yield url


class Start(Protocol):
    """See the fixture."""

    def __call__(
        self, environment: Mapping[str, str], *command: str, tmpfs: Sequence[str] = (), memory: int | None = None
    ) -> Container: ...


@pytest.fixture(scope="module")
def start(image: Image) -> Iterator[Start]:
    """Call it to start one more container, with the image's own command if none is given; all end after the file."""
    with short_folder() as folder, ExitStack() as containers:

        def start(
            environment: Mapping[str, str], *command: str, tmpfs: Sequence[str] = (), memory: int | None = None
        ) -> Container:
            container = Container(image, folder, command, environment, tmpfs=tmpfs, memory=memory)
            return containers.enter_context(container)

        yield start
