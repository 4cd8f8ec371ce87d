"""taskapi: the backend of a task manager. taskapi/app.py makes the application."""

__version__ = "1.0.0"
