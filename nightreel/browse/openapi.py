"""The API's own description, as OpenAPI 3.1; the page of documentation is made from it."""

from typing import Any

from nightreel import __version__

ROOT = "/api/v1"
_RUN = ("run", "query", "integer", "A run that is kept; by default the one that apps read.")
_LIMIT = ("limit", "query", "integer", "The most entries.")
_ROW = {
    "rank": "integer",
    "video_id": ["integer", "string"],
    "score": "number",
    "classifier_score": ["number", "null"],
    "regressor_score": ["number", "null"],
    "als_score": ["number", "null"],
    "source": "string",
    "candidate_sources": ["string", "null"],
    "rule": ["string", "null"],
    "propensity": ["number", "null"],
    "arm": ["string", "null"],
}
_RUN_FIELDS = {
    "run_id": "integer",
    "shown": "boolean",
    "status": "string",
    "replay": "boolean",
    "as_of": "string",
    "known_at": ["string", "null"],
    "model_version": "string",
    "started_at": "string",
    "published_at": ["string", "null"],
    "users": ["integer", "null"],
    "rows": ["integer", "null"],
    "k": "integer",
    "error": ["string", "null"],
    "seconds": "object",
}
_SHARED_ROW = {"rank": "integer", "score": "number", "source": "string"}
_OPERATIONS: tuple[tuple[str, str, tuple[tuple[str, str, str, str], ...], dict[str, Any]], ...] = (
    (
        "/lists/{user}",
        "One user's list.",
        (("user", "path", "string", "The user's id."), _RUN, _LIMIT),
        {"user_id": ["integer", "string"], "run_id": "integer", "list": [_ROW]},
    ),
    (
        "/lists",
        "The lists of a page of users, by id; `next` is the address of the next page.",
        (_RUN, _LIMIT, ("after", "query", "string", "Users after this id.")),
        {
            "run_id": "integer",
            "lists": [{"user_id": ["integer", "string"], "list": [_ROW]}],
            "next": ["string", "null"],
        },
    ),
    (
        "/related/{video}",
        "The videos related to one.",
        (("video", "path", "string", "The video's id."), _RUN, _LIMIT),
        {
            "video_id": ["integer", "string"],
            "run_id": "integer",
            "list": [{"related_video_id": ["integer", "string"], **_SHARED_ROW}],
        },
    ),
    (
        "/popular",
        "The popular videos, for everyone or for users with one value of a segment.",
        (
            ("segment", "query", "string", "A column of the users; by default `overall`."),
            ("value", "query", "string", "One of its values."),
            _RUN,
            _LIMIT,
        ),
        {
            "segment": "string",
            "value": "string",
            "run_id": "integer",
            "list": [{"video_id": ["integer", "string"], **_SHARED_ROW}],
        },
    ),
    (
        "/runs",
        "Runs, newest first; `next` is the address of the next page.",
        (_LIMIT, ("before", "query", "integer", "Runs before this one.")),
        {"runs": [_RUN_FIELDS], "next": ["string", "null"]},
    ),
    ("/runs/{run}", "One run.", (("run", "path", "integer", "The run's number."),), _RUN_FIELDS),
    (
        "/scorecard",
        "The outcomes of each night's lists, as `nightreel scorecard --json` prints them.",
        (
            ("days", "query", "integer", "Days to show, up to the last."),
            ("replays", "query", "boolean", "Show nights that were made again later, which no app read."),
        ),
        {"nights": "array", "alarms": "array"},
    ),
)


def document() -> dict[str, Any]:
    """The whole OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nightreel",
            "version": __version__,
            "description": "Reads the published lists. Answers have ETags; errors a message and a remedy.",
        },
        "paths": {
            f"{ROOT}{path}": {"get": _operation(said, given, found)}
            for path, said, given, found in _OPERATIONS
        },
        "components": {
            "securitySchemes": {"password": {"type": "http", "scheme": "basic"}},
            "schemas": {"Error": _schema({"error": {"message": "string", "remedy": "string"}})},
        },
    }


def _operation(
    summary: str, parameters: tuple[tuple[str, str, str, str], ...], fields: dict[str, Any]
) -> dict[str, Any]:
    errors = {
        "400": "The address is wrong.",
        "404": "It is not there.",
        "503": "The database cannot be read.",
    }
    failed = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "summary": summary,
        "parameters": [
            {
                "name": name,
                "in": where,
                "required": where == "path",
                "schema": {"type": kind},
                "description": said,
            }
            for name, where, kind, said in parameters
        ],
        "responses": {
            "200": {"description": "Found.", "content": {"application/json": {"schema": _schema(fields)}}},
            "304": {"description": "Unchanged: the given ETag is current."},
            **{code: {"description": said, "content": failed} for code, said in errors.items()},
        },
    }


def _schema(said: Any) -> dict[str, Any]:
    """The schema for a type's name, several such names, a mapping of fields, or a list with its item."""
    if isinstance(said, dict):
        return {
            "type": "object",
            "properties": {name: _schema(one) for name, one in said.items()},
            "required": list(said),
        }
    if isinstance(said, list) and not isinstance(said[0], str):
        return {"type": "array", "items": _schema(said[0])}
    return {"type": said}
