"""What the sandbox makes of the bodies it is sent."""

import pytest

from receiver.sandbox import bodies
from receiver.sandbox.problems import RefusedError


def test_a_field_that_is_nested_too_deep_is_refused() -> None:
    nested: object = "x"
    for _ in range(300):
        nested = [nested]
    lead = {"email": "jo@example.org", "customFields": {"deep": nested}}
    with pytest.raises(RefusedError, match=r"'leads\[0\]\.deep' is nested too deep; send a plain value"):
        bodies.leads({"leads": [lead]}, lambda text: None)
