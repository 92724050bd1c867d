"""The files that the pages load: the receiver's own, and one library that is somebody else's."""

import hashlib
import re
from importlib import resources
from pathlib import Path

from tests.web.conftest import Api

STATIC = Path(str(resources.files("receiver.web.dashboard").joinpath("static")))
UPLOT = {
    "uplot-1.6.32.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uplot-1.6.32.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "uplot-1.6.32.LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}


def test_uplot_is_what_was_released_with_its_licence() -> None:
    assert {name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in UPLOT} == UPLOT
    told = (STATIC / "uplot-1.6.32.sha256").read_text().splitlines()
    assert told == [f"{digest}  {name}" for name, digest in UPLOT.items()]
    licence = (STATIC / "uplot-1.6.32.LICENSE.txt").read_text()
    assert licence.startswith("The MIT License (MIT)\n\nCopyright (c) 2022 Leon Sorokin\n")
    assert "https://github.com/leeoniya/uPlot/tree/1.6.32" in (STATIC / "uplot-1.6.32.SOURCE.txt").read_text()


def test_nothing_is_named_that_is_not_here() -> None:
    for file in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./(.+?)";', file.read_text("utf-8")):
            assert (STATIC / name).is_file(), (file.name, name)


def test_no_script_writes_markup_or_asks_elsewhere() -> None:
    own = {file.name: file.read_text("utf-8") for file in STATIC.glob("*.js") if file.name not in UPLOT}
    for words in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "://"):
        found = {name for name, text in own.items() if words in text.replace("http://www.w3.org/2000/svg", "")}
        assert found == set(), words


async def test_a_page_tells_of_every_module_that_it_will_need(api: Api) -> None:
    page = (await api.get("/?view=trust")).text
    told = set(re.findall(r'modulepreload" href="/static/\w+/(\w+\.js)"', page))
    needed: set[str] = set()
    waiting = ["trust.js"]
    while waiting:
        names = re.findall(r'from "\./(.+?)";', (STATIC / waiting.pop()).read_text("utf-8"))
        waiting += [name for name in names if name not in needed]
        needed |= set(names)
    assert told == needed
    assert "spark.js" not in told


async def test_a_file_is_kept_for_good_under_the_version_of_all(api: Api) -> None:
    page = (await api.get("/")).text
    path = re.findall(r'href="(/static/\w+/dashboard\.css)"', page)[0]
    answer = await api.get(path)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.content == (STATIC / "dashboard.css").read_bytes()
    again = await api.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    for other in ("/static/0/dashboard.css", path.replace("dashboard.css", "..%2f__init__.py"), path + ".bak"):
        assert (await api.get(other)).status_code == 404


async def test_a_page_lets_nothing_in_from_outside(api: Api) -> None:
    answer = await api.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; object-src 'none'; base-uri 'none';")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", answer.text)
    assert not re.search(r'(?:src|href)="(?![/#])', answer.text)
