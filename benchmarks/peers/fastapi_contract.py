"""What comes in and goes out, and how errors are told, for the peers on FastAPI: pydantic models and handlers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException as StarletteHTTPException

from benchmarks.peers.rules import ActionType

T = TypeVar("T")


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain U+0000")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty or only white space")
    return value


Title = Annotated[str, Field(max_length=255), AfterValidator(_storable), AfterValidator(_not_blank)]
Description = Annotated[str, Field(max_length=5000), AfterValidator(_storable)]


class Strict(BaseModel):
    """Refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class TaskCreate(Strict):
    """A new task."""

    title: Title
    description: Description | None = None


class TaskUpdate(Strict):
    """What to change: the title, the description or both; model_dump(exclude_unset=True) tells which."""

    title: Title = ""
    description: Description | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> "TaskUpdate":
        if not self.model_fields_set:
            raise ValueError("must give a title, a description or both")
        return self


class HistoryQuery(Strict):
    """Which page of which entries."""

    page: int | None = Field(None, ge=1)
    limit: int = Field(10, ge=1, le=100)
    offset: int = Field(0, ge=0)
    task_id: UUID | None = None
    action_type: ActionType | None = None

    @property
    def start(self) -> int:
        """The entries to leave out: where both `page` and `offset` are given, `page` wins."""
        return self.offset if self.page is None else (self.page - 1) * self.limit


class Out(BaseModel):
    """Reads the ORM's objects, too."""

    model_config = ConfigDict(from_attributes=True)


class TaskOut(Out):
    """A task."""

    id: UUID
    title: str
    description: str | None
    is_completed: bool
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class HistoryEntryOut(Out):
    """One change of one task."""

    history_id: UUID
    task_id: UUID
    action_type: ActionType
    description: str
    timestamp: datetime


class PaginationOut(Out):
    """Where the page stands in its selection."""

    total_count: int
    total_pages: int
    current_page: int
    page_size: int
    has_next: bool
    has_prev: bool


class HistoryPageOut(Out):
    """A page of the history, newest entry first."""

    items: list[HistoryEntryOut]
    pagination: PaginationOut


class WeeklyStatsOut(Out):
    """The figures of the week."""

    tasks_created_this_week: int
    tasks_completed_this_week: int
    total_completed: int
    total_incomplete: int
    total_tasks: int
    week_start: datetime
    week_end: datetime


class HealthOut(Out):
    """The service itself."""

    status: str
    service: str
    version: str


class Answer(BaseModel, Generic[T]):
    """The envelope of a success."""

    success: bool = True
    data: T
    popup: str | None = None
    error: str | None = None


class TaskNotFound(HTTPException):
    """There is no task with this id."""

    def __init__(self) -> None:
        super().__init__(404, "There is no such task.")


def handle_errors(app: FastAPI) -> None:
    """Put every error into the envelope."""

    @app.exception_handler(StarletteHTTPException)
    async def refused(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return _failure(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = error.errors()
        if any(problem["type"] == "json_invalid" for problem in problems):
            return _failure(400, "The body is not JSON.")
        return _failure(422, "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in problems))

    @app.exception_handler(Exception)
    async def defect(_: Request, __: Exception) -> JSONResponse:
        return _failure(500, "Something went wrong here.")


def _failure(status: int, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"success": False, "data": None, "popup": None, "error": error}, status, headers)
