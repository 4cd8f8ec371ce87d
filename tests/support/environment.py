"""The environment of the processes that tests start."""

import os


def environment_of(**settings: str) -> dict[str, str]:
    """These settings and PATH: nothing else of the person who runs the tests, nor of their .env file."""
    return {"PATH": os.environ["PATH"], "ENV_FILE": "", **settings}
