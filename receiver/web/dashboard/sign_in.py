"""Signing in with an access key, and out again."""

from urllib.parse import parse_qsl, urlencode

from receiver.errors import TooManyAttemptsError, UnauthorizedError
from receiver.web.access import Access, Role
from receiver.web.dashboard.pages import Pages
from receiver.web.dashboard.params import SignInForm, SignInParams
from receiver.web.operation import Call, Raw, Refused
from receiver.web.sessions import set_cookie


class SignIn:
    """Handlers of `/sign-in` and `/sign-out`."""

    def __init__(self, access: Access, pages: Pages) -> None:
        self._access = access
        self._pages = pages

    async def form(self, call: Call) -> Raw:
        """Whoever is signed in, or needs no key, goes on to the page that was wanted."""
        params: SignInParams = call.params
        if call.role is not Role.OPEN or not self._access.has_keys:
            return self._pages.redirect("/", _query(params.page))
        return self._form(params.page or "", None)

    async def sign_in(self, call: Call) -> Raw:
        form: SignInForm = call.body
        if not self._access.has_keys:
            return self._pages.redirect("/")
        value = self._access.sign_in(form.key.strip().encode(), call.client.peer)
        cookie = set_cookie(value, self._pages.cookie_path, secure=call.client.secure)
        return self._pages.redirect("/", _query(form.page), cookie)

    async def sign_out(self, call: Call) -> Raw:
        return self._pages.redirect("/", "", set_cookie("", self._pages.cookie_path, secure=call.client.secure))

    def refused(self, refused: Refused) -> Raw | None:
        """A wrong key is told where it was typed; any other refusal has a page of its own."""
        error = refused.error
        if refused.wants_page and isinstance(error, UnauthorizedError | TooManyAttemptsError):
            return self._form("", str(error), refused.status)
        return self._pages.refusal(refused)

    def _form(self, page: str, problem: str | None, status: int | None = None) -> Raw:
        return self._pages.page("sign_in", {"page": page, "problem": problem}, status)


def _query(text: str | None) -> str:
    """A query string as it is sent again: nothing in it can leave this server's pages."""
    return urlencode(parse_qsl(text or "", keep_blank_values=True))
