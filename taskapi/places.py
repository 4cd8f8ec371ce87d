"""Where taskapi finds its files and keeps its data, in the project's folder or installed with pip.

ROOT is the folder of sql/, alembic/ and wsgi.py: the project's, or their copy in the installed package.
BASE is the base of a relative DATA_DIR: the project's folder or, for an installed package, the current folder.
DATA is the default of DATA_DIR.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent

if (_PACKAGE / "project").is_dir():
    ROOT, BASE = _PACKAGE / "project", Path()
    # People delete virtual environments, but not data, so it is in the user's data folder (XDG Base Directory
    # Specification). A service may have no home, for which pathlib's expanduser() would raise.
    DATA = Path(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share"), "taskapi")  # noqa: PTH111
else:
    ROOT = BASE = _PACKAGE.parent
    DATA = ROOT / ".data"
