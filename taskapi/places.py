"""Where taskapi finds its files and keeps its data: run from the project's folder, or installed with pip.

ROOT is the folder of sql/, alembic/ and wsgi.py: the project's, or their copy in the installed package.
BASE is what a relative DATA_DIR is relative to: the project's folder, or the folder of whoever runs what is installed.
DATA is the default of DATA_DIR.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

if (_PACKAGE / "project").is_dir():
    ROOT, BASE = _PACKAGE / "project", Path()
    # An environment is thrown away, data is not: it is where the XDG Base Directory Specification has a user's data.
    # Without a home, which a service has no use for, expanduser() of pathlib would raise.
    DATA = Path(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "taskapi")  # noqa: PTH111
else:
    ROOT = BASE = _PACKAGE.parent
    DATA = ROOT / ".data"
