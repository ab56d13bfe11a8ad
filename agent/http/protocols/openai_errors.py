"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`."""

from typing import Any

from pydantic import BaseModel

from client import SteadyError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_STATUS = {422: 400}  # OpenAI's word for a request that does not fit
_BY_CODE = {"unsupported_parameter": 400, "approval_required": 400, "model_not_found": 404}


class ErrorFields(BaseModel):
    """What is wrong: for a person, and for a program."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorFrame(BaseModel):
    """An error where a piece of an answer belongs."""

    error: ErrorFields


def error_form(
    message: str, status: int, code: str, param: str | None
) -> tuple[int, dict[str, Any]]:
    """The status and the body of a refusal; `status` is that of our other routes."""
    status = _BY_CODE.get(code, _STATUS.get(status, status))
    kind = _TYPES.get(status, "server_error")
    return status, {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_frame(error: SteadyError) -> ErrorFrame:
    """An error in a stream whose status has gone out already."""
    message = error.message.encode(errors="replace").decode()
    _, fields = error_form(message, 500, error.code, None)
    return ErrorFrame.model_validate(fields)
