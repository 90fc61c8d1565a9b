"""MLflow's UI of a workspace in a real browser: Debian's chromium, without a display, driven by its own driver.

As a command it makes the pictures of docs/mlflow.md: python -m tests.helpers.browser WORKSPACE docs/images
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_SECONDS = 60

_ARGUMENTS = (
    "--headless=new",
    "--window-size=1400,900",
    "--no-sandbox",  # which root, as in a container, cannot have
    "--disable-dev-shm-usage",
    # Nothing outside of this machine is asked, whatever a page would like to have.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_TABLE = """
const rows = []
for (const cell of document.querySelectorAll('[row-index] [role=gridcell]')) {
    const index = cell.closest('[row-index]').getAttribute('row-index')
    const column = cell.getAttribute('col-id').replace(/^[a-z]+\\.`|`$/g, '')
    rows[index] ??= {}
    rows[index][column] = (cell.querySelector('a') ?? cell).innerText.trim()
}
return rows
"""
# What MLflow's own pages complain of, whatever is in the store: a server without users is asked who is logged in, and
# a table that is laid out again says so.
_HARMLESS = ("/mlflow/users/current", "ResizeObserver loop")


@contextmanager
def serving(workspace: Path) -> Iterator[dict[str, str]]:
    """The addresses that `harness ui` prints: of its server as `MLflow UI`, then of an experiment by its name."""
    command = [sys.executable, "-m", "harness.cli", "ui", "--workspace", str(workspace)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            said: dict[str, str] = {}
            for line in process.stdout:
                name, _, address = line.strip().partition(": ")
                said[name] = address.split()[0]
                if name != "MLflow UI":
                    break
            assert said, "the server ended before it answered"
            yield said
        finally:
            process.terminate()


class Browser:
    """A window on MLflow's UI. What is looked for may take its time to appear."""

    def __init__(self) -> None:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in _ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
        self._wait = WebDriverWait(self.driver, PATIENCE_SECONDS, ignored_exceptions=[StaleElementReferenceException])

    def open(self, address: str) -> None:
        # What differs behind the `#` only would not be loaded anew.
        self.driver.get("about:blank")
        self.driver.get(address)

    def settle(self, server: str) -> None:
        """Set MLflow up as its user would: without the chat that opens by itself, and for the training of models."""
        self.open(server)
        self.driver.execute_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        self.open(server)
        self.click("//*[text()='Model training']")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            self._wait.until(lambda driver: condition())
        except TimeoutException as error:
            console = self.driver.get_log("browser")
            raise AssertionError(f"{what}. The page shows: {self.text()!r}. The console says: {console}") from error

    def shows(self, *texts: str) -> None:
        """Wait until the page has all `texts`."""
        for text in texts:
            self.until(lambda text=text: text in self.text(), f"{text!r} is not there")

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def click(self, xpath: str) -> None:
        def clicked() -> bool:
            found = [each for each in self.driver.find_elements(By.XPATH, xpath) if each.is_displayed()]
            if found:
                found[0].click()
            return bool(found)

        self.until(clicked, f"there is no {xpath}")

    def type(self, placeholder: str, text: str) -> None:
        """Type into the field that shows `placeholder` while it is empty."""
        self.driver.find_element(By.CSS_SELECTOR, f"input[placeholder='{placeholder}']").send_keys(text)

    def click_in_row(self, run: str, xpath: str) -> None:
        """Click something in the row of a run."""
        self.click(f"//*[@role='row'][.//a[normalize-space()='{run}']]{xpath}")

    def table(self) -> dict[str, dict[str, str]]:
        """The rows of the table of runs from the top by the run's name, each with its cells by column."""
        return {row["Run Name"]: row for row in self.driver.execute_script(_TABLE)}

    def pictures(self) -> list[tuple[int, int]]:
        """Width and height of the pictures on the page that were loaded, as their files have them."""
        found = self.driver.execute_script(
            "return [...document.images].filter(i => i.complete).map(i => [i.naturalWidth, i.naturalHeight])"
        )
        return [(width, height) for width, height in found]

    def complaints(self) -> list[str]:
        """What the console has called severe since the last time."""
        severe = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [message for message in severe if not any(known in message for known in _HARMLESS)]

    def close(self) -> None:
        self.driver.quit()


def take_pictures(workspace: Path, folder: Path) -> None:
    """Write `mlflow-runs.png`, the families with their trials, and `mlflow-trial.png`, a trial's confusion matrix."""
    with serving(workspace) as said, closing(Browser()) as browser:
        server, experiment = said.values()
        browser.settle(server)
        browser.driver.set_window_size(1250, 1080)
        browser.open(experiment)
        browser.click("//button[@aria-label='Hide banner']")
        browser.until(lambda: bool(browser.table()), "there are no runs")
        families = list(browser.table())
        for family in families:
            browser.click_in_row(family, "//button")
        browser.until(lambda: len(browser.table()) > len(families), "there are no trials")
        browser.driver.save_screenshot(str(folder / "mlflow-runs.png"))
        best = max(browser.table(), key=lambda run: (" · trial " in run, browser.table()[run]["valid_macro_f1"]))
        browser.click(f"//a[normalize-space()='{best}']")
        browser.click("//*[@role='tab'][.='Artifacts']")
        browser.click("//*[text()='confusion_matrix.png']")
        browser.until(lambda: any(width > 500 for width, _ in browser.pictures()), "there is no picture")
        browser.driver.save_screenshot(str(folder / "mlflow-trial.png"))


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]), Path(sys.argv[2]))
