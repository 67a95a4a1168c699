"""The page in a real browser, without a network but loopback."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.serving.site import Site

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def test_a_text_is_answered_by_keyboard_alone(gate: Site, browser: Browser) -> None:
    gate.route()
    page = browser.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(gate.url)
    page.keyboard.type("a small package")  # the field has the focus
    with page.expect_response("**/v1/generate") as told:
        page.keyboard.press("Control+Enter")
    answer = page.get_by_role("article")
    expect(answer).to_be_visible()
    ours = told.value.json()  # of a model that knows nothing: asked again it may say another thing
    expect(answer.locator("p")).to_have_text(ours["outputs"][0]["text"])
    expect(answer).to_contain_text("version")
    expect(answer).to_contain_text("ms")
    assert page.get_by_label("Text").is_visible()
    assert problems == []
    page.close()


def test_markup_in_an_answer_stays_text(gate: Site, browser: Browser) -> None:
    gate.route()
    gate.faults["1"].replace, gate.faults["1"].text = 1.0, "<img src=x onerror=document.title='broken'>"
    page = browser.new_page()
    page.goto(gate.url)
    page.get_by_label("Text").fill("anything at all")
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("article")).to_contain_text("<img src=x")
    assert "broken" not in page.title()
    gate.faults["1"].replace = 0.0
    page.close()


def test_a_refusal_is_said(gate: Site, browser: Browser) -> None:
    gate.route()
    gate.faults["1"].fail = 1.0
    page = browser.new_page()
    page.goto(gate.url)
    page.get_by_label("Text").fill("something new")
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("alert")).to_contain_text("gave no answer")
    gate.faults["1"].fail = 0.0
    page.close()
