"""Refusals of API calls, with the codes that Leadterra documents."""

from receiver.errors import ReceiverError


class RefusedError(ReceiverError):
    """An API call that is answered with an error; `errors` names single leads or addresses (422)."""

    def __init__(self, status: int, code: str, message: str, errors: list[dict[str, object]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.errors = errors


def invalid(message: str) -> RefusedError:
    """400 `invalid_request`; the message names the field, its value's fault and what to send."""
    return RefusedError(400, "invalid_request", message)
