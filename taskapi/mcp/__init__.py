"""The service for AI agents, over the Model Context Protocol: `python -m taskapi.mcp`."""
