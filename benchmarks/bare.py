"""The least that Flask can do: one view that returns a constant of the size of a task."""

from flask import Flask

TASK = (
    '{"success":true,"data":{"id": "94b7136e-b4b1-41e1-83d5-74e8645351ae", "title": "Task number 100", "created_at":'
    ' "2026-11-24T08:31:22.726558Z", "updated_at": "2026-11-24T08:31:22.726558Z", "description": "What there is to do,'
    ' in a sentence of usual length.", "completed_at": null, "is_completed": false},"popup":null,"error":null}'
)

app = Flask(__name__)


@app.get("/api/v1/health")
def constant() -> str:
    """Return the constant."""
    return TASK
