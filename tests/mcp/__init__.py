"""The tools for AI agents, as a real MCP client finds them."""
