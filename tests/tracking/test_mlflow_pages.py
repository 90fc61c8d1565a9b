"""What a user sees of a benchmark in MLflow's UI, looked at in a real browser on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import pytest
from matplotlib.image import imread

from harness.tracking.mlflow.views import BEST_TRIALS, FAMILIES
from harness.workflows.publish import artifacts
from tests.helpers.browser import Browser
from tests.helpers.mlflow import PREDICTIONS

pytestmark = pytest.mark.slow  # starts a server and a browser


@dataclass(frozen=True)
class Page:
    """A browser, and the page of the experiment that `harness ui` names."""

    browser: Browser
    experiment: str


@pytest.fixture(scope="module")
def page(browser: Browser, ui: dict[str, str]) -> Page:
    browser.settle(ui["MLflow UI"])
    return Page(browser, ui["demo/kfold:5"])


@pytest.fixture(autouse=True)
def nothing_severe_is_in_the_console(page: Page) -> Iterator[None]:
    yield
    assert page.browser.complaints() == []


def test_the_page_that_is_named_shows_the_families_and_their_scores(page: Page) -> None:
    browser = page.browser
    browser.open(page.experiment)
    browser.until(lambda: len(browser.table()) == 2, "there are not two families")
    scores = {name: row["valid_macro_f1"] for name, row in browser.table().items()}
    assert scores == {"cnn2d-fusion · study ab12cd34 · 0.82": "0.825", "cnn1d-raw · study 0fc4da67 · 0.50": "0.5"}
    browser.click_in_row("cnn2d-fusion · study ab12cd34 · 0.82", "//button")
    outcomes = {
        "cnn2d-fusion · trial 0 · 0.71": "completed",
        "cnn2d-fusion · trial 1 · 0.82": "completed",
        "cnn2d-fusion · trial 2 · oom": "oom",
    }

    def shown() -> dict[str, str | None]:
        return {name: row.get("outcome") for name, row in browser.table().items() if "trial" in name}

    # Rows appear before all of their cells.
    browser.until(lambda: shown() == outcomes, "the trials beneath their family are not these")


def test_the_page_of_a_study_tells_of_it_in_a_table(page: Page) -> None:
    browser = page.browser
    browser.open(page.experiment)
    browser.click("//a[normalize-space()='cnn2d-fusion · study ab12cd34 · 0.82']")
    browser.shows("Two towers.", "demo (f)")
    browser.click("//button[normalize-space()='Show more']")
    browser.until(lambda: "3: 2 completed, 1 oom" in cells(browser), "there is no table with the outcomes")


def cells(browser: Browser) -> list[str]:
    return browser.driver.execute_script("return [...document.querySelectorAll('td')].map(cell => cell.innerText)")


def test_the_page_of_a_trial_shows_its_curves_and_its_confusion_matrix(page: Page) -> None:
    browser = page.browser
    browser.open(page.experiment.replace(FAMILIES, BEST_TRIALS))
    by_score = ["cnn2d-fusion · trial 1 · 0.82", "cnn2d-fusion · trial 0 · 0.71", "cnn1d-raw · trial 0 · 0.50"]
    browser.until(lambda: list(browser.table())[:3] == by_score, "the best trials are not on top")
    browser.click("//a[normalize-space()='cnn2d-fusion · trial 1 · 0.82']")
    browser.shows("demo (f)", "valid_macro_f1")
    browser.click("//*[@role='tab'][.='Model metrics']")
    browser.shows("loss", "val_accuracy")
    browser.type("Search metric charts", "vram")
    browser.shows("vram_bytes", "vram_peak_bytes")
    browser.click("//*[@role='tab'][.='Artifacts']")
    browser.click("//*[text()='confusion_matrix.png']")
    picture = artifacts("cnn2d-fusion · trial 1: validation tracks", PREDICTIONS)["confusion_matrix.png"]
    height, width, _ = imread(BytesIO(picture)).shape
    browser.until(lambda: (width, height) in browser.pictures(), "the picture is not there")


def test_two_trials_can_be_compared(page: Page) -> None:
    browser = page.browser
    browser.open(page.experiment.replace(FAMILIES, BEST_TRIALS))
    compared = ("cnn2d-fusion · trial 0 · 0.71", "cnn2d-fusion · trial 1 · 0.82")
    for run in compared:
        browser.click_in_row(run, "//*[contains(@class, 'ag-selection-checkbox')]")
    browser.click("//button[normalize-space()='Compare']")
    browser.shows("Comparing 2 Runs", *compared, "layers", "0.825", "0.714")
