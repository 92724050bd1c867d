"""The routes of the dashboard, as rows of the one table."""

from receiver.web.access import Role
from receiver.web.dashboard.assets import Assets
from receiver.web.dashboard.dashboard import Dashboard
from receiver.web.dashboard.params import PageParams, SignInForm, SignInParams
from receiver.web.dashboard.sign_in import SignIn
from receiver.web.operation import Operation


def pages(dashboard: Dashboard, sign_in: SignIn, assets: Assets) -> list[Operation]:
    """The pages, the way in and out, and what they load."""
    return [
        Operation(
            "GET",
            "/",
            "The dashboard. Who is not signed in is sent to the sign-in page.",
            dashboard.page,
            Role.ANALYST,
            params=PageParams,
            other_status=303,
            media_type="text/html",
            errors=("campaign_not_found", "query_timeout"),
            refused=dashboard.refused,
        ),
        Operation(
            "GET",
            "/sign-in",
            "Asks for an access key. Who needs none goes on to the dashboard.",
            sign_in.form,
            Role.OPEN,
            params=SignInParams,
            other_status=303,
            media_type="text/html",
            refused=sign_in.refused,
        ),
        Operation(
            "POST",
            "/sign-in",
            "Begin a session with an access key: a cookie that is accepted wherever a key is.",
            sign_in.sign_in,
            Role.OPEN,
            body=SignInForm,
            form=True,
            status=303,
            media_type="text/html",
            errors=("unauthorized", "forbidden", "too_many_attempts"),
            refused=sign_in.refused,
        ),
        Operation(
            "POST",
            "/sign-out",
            "End the session.",
            sign_in.sign_out,
            Role.OPEN,
            status=303,
            media_type="text/html",
            errors=("forbidden",),
            refused=sign_in.refused,
        ),
        Operation(
            "GET",
            "/static/{version}/{name}",
            "A file that the pages load.",
            assets.one,
            Role.OPEN,
            media_type="text/css",
        ),
    ]
