"""The one exception root: every error that this project raises on purpose has a stable code."""

from typing import Literal

LeadterraReason = Literal[
    "unauthorized",
    "forbidden",
    "not_found",
    "invalid_request",
    "rate_limited",
    "server_error",
    "redirected",
    "timeout",
    "unreachable",
    "too_large",
    "not_json",
    "invalid_answer",
    "wrong_campaign",
]


class ReceiverError(Exception):
    """Something the user or operator can act on; its text names the thing, the value and what to do.

    `code` is stable and part of the interface; the web layer maps it to an HTTP status, the
    commands map it to an exit code.
    """

    code = "internal"


class ConfigurationError(ReceiverError):
    """The configuration cannot be used; `problems` holds one line per problem, never a secret."""

    code = "configuration"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CommandError(ReceiverError):
    """A command failed for a reason outside its arguments (lock held, port taken, file unreadable)."""

    code = "failed"


class StorageError(ReceiverError):
    """The database cannot be opened or used as it is."""

    code = "storage"


class UnavailableError(ReceiverError):
    """What was asked for cannot be done now; try again after `retry_after_s` seconds."""

    code = "unavailable"

    def __init__(self, text: str, retry_after_s: int = 5) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class QueryTimeoutError(ReceiverError):
    """A read took longer than its time limit and was interrupted."""

    code = "query_timeout"


class InvalidParameterError(ReceiverError):
    """A request parameter is unknown, repeated or has a value that is not allowed."""

    code = "invalid_parameter"

    def __init__(self, parameter: str, text: str) -> None:
        super().__init__(text)
        self.parameter = parameter


class TooManyRowsError(InvalidParameterError):
    """The answer would have more rows than one answer may have; the text names what would fit."""

    code = "too_many_rows"


class NotFoundError(ReceiverError):
    """The path or the thing it names does not exist."""

    code = "not_found"


class CampaignNotFoundError(NotFoundError):
    """No campaign with this id is known here."""

    code = "campaign_not_found"

    def __init__(self, campaign_id: str) -> None:
        super().__init__(f"No event of campaign '{campaign_id[:128]}' has been seen here.")


class ReconciliationOffError(ReceiverError):
    """Leadterra cannot be asked, because no API key is configured."""

    code = "reconciliation_off"

    def __init__(self) -> None:
        super().__init__("Setting 'leadterra.api_key' is not set, so Leadterra cannot be asked; set it.")


class UnauthorizedError(ReceiverError):
    """No key, or none that is configured."""

    code = "unauthorized"


class ForbiddenError(ReceiverError):
    """The key is good, but not for this."""

    code = "forbidden"


class TooManyAttemptsError(ReceiverError):
    """Too many failed keys from one address within a minute."""

    code = "too_many_attempts"

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class LeadterraError(ReceiverError):
    """Leadterra's API gave no answer that can be used; the text never holds the API key.

    `reason` is stable. `status` is that of the answer, None when none came. `retry_after_s` is how long
    Leadterra asks to wait. `arrived` is False when the request certainly did not reach it.
    """

    code = "leadterra"

    def __init__(
        self,
        text: str,
        reason: LeadterraReason,
        status: int | None = None,
        *,
        retry_after_s: float | None = None,
        arrived: bool = True,
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s
        self.arrived = arrived
