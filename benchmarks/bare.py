"""The least that Flask can do: one view that returns a constant of the size of a task."""

from flask import Flask

TASK = (
    '{"success":true,"data":{"id":"f899139d-f5e1-0593-9643-1415e770c6dd","title":"Task number 100","description":"What'
    ' there is to do, in a sentence of usual length.","is_completed":false,"created_at":"2026-11-25T23:50:47.791161Z",'
    '"updated_at":"2026-11-25T23:50:47.791161Z","completed_at":null},"popup":null,"error":null}'
)

app = Flask(__name__)


@app.get("/api/v1/health")
def constant() -> str:
    """Return the constant."""
    return TASK
