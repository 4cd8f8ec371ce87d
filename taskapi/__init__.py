"""taskapi: the backend of a task manager. The application is made in taskapi.app."""

__version__ = "1.0.0"
