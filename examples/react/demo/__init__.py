"""`make demo`: the API with sample tasks, and the frontend of the folder above."""
