"""Serves one client over stdin and stdout: a JSON-RPC message a line."""

import json
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter
from pydantic import ValidationError

Item = SessionMessage | Exception


async def serve(server: Server[Any]) -> None:
    """Serve until the client closes stdin. Nothing but answers reaches stdout meanwhile."""
    async with stdio_server() as (lines, answers), anyio.create_task_group() as tasks:
        readable, messages = anyio.create_memory_object_stream[Item](0)
        tasks.start_soon(_sort, lines, readable, answers)
        await server.run(messages, answers, server.create_initialization_options())


async def _sort(lines: Any, readable: MemoryObjectSendStream[Item], answers: Any) -> None:
    """Pass messages on, and answer what is none: the SDK leaves it without an answer, and its sender waiting."""
    async with readable:
        async for item in lines:
            message = _second_reading(item) if isinstance(item, Exception) else item
            if message is not None:
                await readable.send(message)
            else:
                error = ErrorData(code=PARSE_ERROR, message="This line is not a JSON-RPC message.")
                await answers.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=None, error=error)))


def _second_reading(error: Exception) -> SessionMessage | None:
    """The message in a line that only Python's parser reads, such as one with lone surrogates; None if none does."""
    try:
        line = error.errors()[0]["input"] if isinstance(error, ValidationError) else ""
        return SessionMessage(jsonrpc_message_adapter.validate_python(json.loads(line), by_name=False))
    except (TypeError, ValueError, RecursionError):
        return None
