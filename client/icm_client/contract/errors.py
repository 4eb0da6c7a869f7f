"""The errors of the wire, shared by scorer and client. A leaf: it imports nothing of the project.

IcmError                    base class; its message is one line
├── RequestError            the request is wrong; retrying does not help         422, 413, 400, 415, ...
│   └── TooLargeError       the request exceeds a limit; smaller ones may not          413
├── BusyError               the queue is full; retry after `retry_after_s`          429
├── UnavailableError        the scorer is unreachable, or not ready                    503
├── DeadlineError           the request's own deadline has passed        504
├── AccessError             the key is missing, invalid, or not allowed to do this         401, 403
└── ScorerError             the scorer failed, or its answer is invalid  500
"""

from __future__ import annotations

from typing import Any

MAX_MESSAGE, MAX_CODE = 4000, 100
"""The most characters kept of another program's message, and of its code."""


class IcmError(Exception):
    """Base class: `code` is for programs, the message for people, `details` for both; `status` is HTTP's."""

    code = "error"
    status = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: dict[str, Any] | None = None,
        status: int | None = None,
    ):
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.details = details or {}
        self.status = status or self.status


class RequestError(IcmError):
    """The request is wrong: retrying does not help."""

    code = "invalid_request"
    status = 422


class TooLargeError(RequestError):
    """The request exceeds a limit even of an idle scorer; several smaller requests may be accepted."""

    code = "request_too_large"
    status = 413


class BusyError(IcmError):
    """The scorer's queue is full; retry after `retry_after_s` seconds."""

    code = "busy"
    status = 429

    def __init__(self, message: str, *, retry_after_s: float = 1.0, **kwargs: Any):
        super().__init__(message, **kwargs)
        self.retry_after_s = retry_after_s


class UnavailableError(IcmError):
    """The scorer is unreachable or not ready; `retry_after_s` is None if the scorer gave no time."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str, *, retry_after_s: float | None = None, **kwargs: Any):
        super().__init__(message, **kwargs)
        self.retry_after_s = retry_after_s
        self.others_left = False
        """Another scorer may do the work, which was not asked yet."""


class DeadlineError(IcmError):
    """The deadline of the request has passed."""

    code = "deadline"
    status = 504


class AccessError(IcmError):
    """401: there is no valid key; 403: the key may not do this."""

    code = "access_denied"
    status = 401


class ScorerError(IcmError):
    """The scorer failed, or its answer does not fit the request."""

    code = "scorer_failed"
    status = 500


def error_body(error: IcmError) -> dict[str, Any]:
    """The JSON of every error on the wire."""
    return {"error": {"code": error.code, "message": error.message, "details": error.details}}


def error_from_body(status: int, body: Any, retry_after_s: float | None = None) -> IcmError:
    """The typed error for an HTTP answer; `body` is any JSON, possibly not from a scorer."""
    inner = body.get("error") if isinstance(body, dict) else None
    if isinstance(inner, dict):
        message, code = _line(inner.get("message", "")), _line(inner.get("code", "error"), MAX_CODE)
        details = inner.get("details") if isinstance(inner.get("details"), dict) else {}
    else:
        message, code, details = f"the server answered {status} without an explanation", f"http_{status}", {}
    if status == 429:
        wait_s = 1.0 if retry_after_s is None else retry_after_s
        return BusyError(message, code=code, details=details, retry_after_s=wait_s)
    if status in (401, 403):
        return AccessError(message, code=code, details=details, status=status)
    if status == 504 and code == DeadlineError.code:
        return DeadlineError(message, code=code, details=details)
    if status in (408, 502, 503, 504):
        return UnavailableError(message, code=code, details=details, retry_after_s=retry_after_s)
    if 300 <= status < 500:
        return RequestError(message, code=code, details=details, status=status)
    return ScorerError(message, code=code, details=details)


def _line(said: Any, most: int = MAX_MESSAGE) -> str:
    """Another program's text as one line without control characters."""
    text = str(said)[:most] if isinstance(said, str | int | float | None) else "?"
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
