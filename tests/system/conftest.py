"""What needs more than Python: programs of the system. Where one is missing, its tests fail and say which."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Page


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """An empty page of a browser of the test's own."""
    with Page(tmp_path) as page:
        yield page
