"""Temporary folders for servers: short enough for a Unix socket's path, and open to the user who runs the server."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder of its own under /tmp, which others may enter but not list; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="taskapi-test-", dir="/tmp")).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
