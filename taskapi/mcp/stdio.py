"""Serves one client over stdin and stdout: a JSON-RPC message a line."""

import json
import re
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.dispatcher import as_request_id, coerce_request_id
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse, jsonrpc_message_adapter
from pydantic import ValidationError

SURROGATE = re.compile("[\ud800-\udfff]")

Item = SessionMessage | Exception


async def serve(server: Server[Any], *, patience: float) -> None:
    """Serve until the client closes stdin. Nothing but answers reaches stdout meanwhile.

    Requests that came before the end are still answered, for `patience` seconds at most: the SDK would drop them.
    """
    async with stdio_server() as (lines, stdout), anyio.create_task_group() as tasks:
        messages, readable = anyio.create_memory_object_stream[Item](0)
        answers, answered = anyio.create_memory_object_stream[SessionMessage](0)
        session = _Session(patience)
        tasks.start_soon(session.read, lines, messages, answers.clone())
        tasks.start_soon(session.write, answered, stdout)
        await server.run(readable, answers, server.create_initialization_options())


class _Session:
    """The messages in and out, and the requests without an answer yet."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._open: set[str | int] = set()
        self._all_answered = anyio.Event()

    async def read(
        self, lines: Any, messages: ObjectSendStream[Item], answers: ObjectSendStream[SessionMessage]
    ) -> None:
        """Pass on messages. Answer lines that are no messages: the SDK would leave their sender waiting."""
        async with messages, answers:
            async for item in lines:
                message = _second_reading(item) if isinstance(item, Exception) else item
                if message is not None:
                    self._note(message)
                    await messages.send(message)
                else:
                    error = ErrorData(code=PARSE_ERROR, message="This line is not a JSON-RPC message.")
                    await answers.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=None, error=error)))
            # The stream of messages stays open until then: its end ends the server.
            with anyio.move_on_after(self._patience):
                while self._open:
                    self._all_answered = anyio.Event()
                    await self._all_answered.wait()

    async def write(self, answered: ObjectReceiveStream[SessionMessage], stdout: Any) -> None:
        """Pass on answers."""
        async with answered, stdout:
            async for answer in answered:
                await stdout.send(answer)
                if isinstance(answer.message, JSONRPCResponse | JSONRPCError):
                    self._close(answer.message.id)

    def _note(self, item: SessionMessage) -> None:
        message = item.message
        if isinstance(message, JSONRPCRequest):
            self._open.add(coerce_request_id(message.id))
        elif getattr(message, "method", "") == "notifications/cancelled":
            # A cancelled request has no answer.
            self._close((getattr(message, "params", None) or {}).get("requestId"))

    def _close(self, number: object) -> None:
        # As in the SDK: a notification may have any value here, and "7" means request 7.
        if (request := as_request_id(number)) is not None:
            self._open.discard(coerce_request_id(request))
        if not self._open:
            self._all_answered.set()


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
