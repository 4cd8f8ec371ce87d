"""Serves one client over stdin and stdout: a JSON-RPC message a line."""

import json
import re
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter
from pydantic import ValidationError

SURROGATE = re.compile("[\ud800-\udfff]")

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
    """The message in a line with lone surrogates, which the SDK's parser does not read; None if there is none.

    They become U+0000, which the schemas refuse in the same words, and which can be sent back.
    """
    try:
        line = error.errors()[0]["input"] if isinstance(error, ValidationError) else ""
        text = SURROGATE.sub(r"\\u0000", json.dumps(json.loads(line), ensure_ascii=False))
        return SessionMessage(jsonrpc_message_adapter.validate_json(text, by_name=False))
    except (TypeError, ValueError, RecursionError):
        return None
