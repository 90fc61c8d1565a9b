"""The report as one HTML page: the same content as the markdown, in need of nothing else."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from harness.errors import WorkspaceError
from harness.records.base import RunLinks
from harness.records.study import DatasetRecord, Published, StudyResults
from harness.records.trial import Outcome
from reports.document import build_report
from reports.write import write_page
from tests.helpers.reports import make_predictions, make_results, make_trial, opened, without_predictions

SERVER = "http://mlflow.example:5000/#/experiments/1/runs"


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, what it leaves open, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"title", "style", "nav"} & set(self.open):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> list[str]:
        return re.findall(r"\w+", self.text)


def write(tmp_path: Path, *studies: StudyResults, links: RunLinks | None = None) -> Page:
    text = write_page(studies, tmp_path / "page.html", links).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def studies() -> list[StudyResults]:
    return [opened(make_results()), make_results(0.3, family="cnn1d-raw")]


@pytest.fixture(scope="module")
def page(studies: list[StudyResults], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return write(tmp_path_factory.mktemp("page"), *studies)


def test_the_page_says_what_the_markdown_says(page: Page, studies: list[StudyResults]):
    markdown = build_report(studies).markdown
    without_markup = re.sub(r"!\[[^]]*\]\([^)]*\)|</?\w+>", " ", markdown)
    assert page.words == re.findall(r"\w+", without_markup)
    assert len(page.all("table")) == len(re.findall(r"^\| -", markdown, flags=re.MULTILINE)) > 10


def test_the_page_needs_nothing_else(page: Page):
    assert not page.all("script")
    assert not page.all("iframe")
    assert len(page.all("img")) == 5
    for image in page.all("img"):
        kind, _, content = image["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert b"<svg" in base64.b64decode(content)
        assert image["alt"]
    assert [each["href"] for each in page.all("link")] == ["data:,"]
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    assert {each["href"] for each in page.all("a")} == {f"#{anchor}" for anchor in anchors}
    (policy,) = (each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_contents_lead_to_every_heading_once(tmp_path: Path):
    page = write(tmp_path, *without_predictions(make_results(), make_results(name="other", seed=1)))
    anchors = [attributes["id"] for tag, attributes in page.elements if tag in ("h2", "h3")]
    assert len(set(anchors)) == len(anchors) == 8
    assert [each["href"] for each in page.all("a")] == [f"#{anchor}" for anchor in anchors]


def test_every_table_and_picture_scrolls_in_a_box_of_its_own(page: Page):
    parents = [previous for previous, (tag, _) in pairwise(page.elements) if tag in ("table", "img")]
    assert {(tag, attributes.get("class")) for tag, attributes in parents} == {("div", "wide"), ("span", "wide")}


def test_only_a_large_picture_keeps_its_size(page: Page, tmp_path: Path):
    assert not [image for image in page.all("img") if "class" in image]
    genres = tuple(f"genre {index}" for index in range(40))
    results = make_results()
    many = write(tmp_path, replace(results, predictions={2: make_predictions(0.5, 80, genres)}))
    assert [image["alt"] for image in many.all("img") if image.get("class") == "large"] == [
        "Confusion matrix of cnn2d-fusion"
    ]


def test_a_page_is_written_twice_the_same(studies: list[StudyResults], tmp_path: Path):
    first = write_page(studies, tmp_path / "one.html").read_bytes()
    assert write_page(studies[::-1], tmp_path / "two.html").read_bytes() == first


def test_every_tracked_run_is_linked(studies: list[StudyResults], tmp_path: Path):
    study = studies[0].study.name
    finals = [run.key for run in studies[0].finals.runs] if studies[0].finals else []
    keys: list[int | str | None] = [None, 0, 1, 2, *finals]
    links = {(study, key): f"{SERVER}/{index}" for index, key in enumerate(keys)}
    page = write(tmp_path, *studies, links=links)
    linked = [each["href"] for each in page.all("a") if not each["href"].startswith("#")]
    assert sorted(linked) == sorted(links.values())
    assert (
        "Runs in MLflow: the study · winner, seed 1 · winner, seed 2 · winner, seed 3 · baseline, seed 1" in page.text
    )
    assert SERVER not in build_report(studies).markdown


def test_what_comes_from_outside_is_text(tmp_path: Path):
    evil = '<script>alert("x")</script><img src=http://evil.example/x>'
    results = make_results(
        description=evil,
        input=evil,
        family="<i>net</i>",
        published=Published(accuracy=0.5, macro_f1=0.5, limitation=evil),
    )
    genres = (evil, "[a](http://evil.example)", "![b](http://evil.example/b.png)")
    data = DatasetRecord(name=evil, fingerprint="d", genres=genres, tracks=9, synthetic=False)
    crashed = make_trial(3, Outcome.CRASHED, message=f"]({evil}", params={evil: evil})
    outside = replace(
        results,
        study=results.study.model_copy(
            update={"dataset": data, "protocol": results.study.protocol.model_copy(update={"warning": evil})}
        ),
        trials=(*results.trials, crashed.model_copy(update={"study": results.study.name})),
        predictions={2: make_predictions(0.5, 9, genres)},
        importance={evil: 1.0},
    )
    page = write(tmp_path, opened(outside, (0.5,), (0.5,)))
    assert not page.all("script")
    assert not page.all("i")
    assert all(each["src"].startswith("data:") for each in page.all("img"))
    assert all(each["href"].startswith("#") for each in page.all("a"))
    assert page.text.count(evil) > 8


def test_a_place_that_cannot_be_written_to_is_the_users_to_mend(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        write_page(without_predictions(make_results()), tmp_path / "file" / "page.html")
