"""Ends with 0 if the service in this container answers. The image's HEALTHCHECK runs it."""

import os
import sys
from http.client import HTTPConnection, HTTPException

from taskapi.addresses import path_prefix

PATIENCE = 4
"""Seconds: fewer than the HEALTHCHECK's own timeout."""

ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where to ask a service that listens at all addresses."""


def main() -> None:
    """Ask for /health at the place that the settings name."""
    host = os.environ.get("HOST", "").strip().strip("[]") or "127.0.0.1"
    port = int(os.environ.get("PORT", "").strip() or 8000)
    prefix = path_prefix(os.environ.get("SCRIPT_NAME", "").strip())
    try:
        connection = HTTPConnection(ANY.get(host, host), port, timeout=PATIENCE)
        connection.request("GET", f"{prefix}/api/v1/health")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        sys.exit(f"The service does not answer: {error}")
    if status != 200:
        sys.exit(f"The service answers with {status}.")


if __name__ == "__main__":
    main()
