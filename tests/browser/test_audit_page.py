"""The audit in the console, in a real Chromium, over a gateway whose index is filled by hand."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright, expect

from tables.audit_record import Outcome
from tests.browser.test_status_page import FLAGS
from tests.gateways import World

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs `chromium` on the PATH; on Debian: apt install chromium")
NASTY = "<img src=x onerror=alert(1)>"


@pytest_asyncio.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """Logged in, at the audit; scripts are off, as some operators' are."""
    async with World(tmp_path) as world, async_playwright() as playwright:
        for number in range(120):
            world.audit(
                Outcome.ACCEPTED, artifact="chart/argo-cd", event_id=f"e{number}", principal="c24", version=f"1.{number}.0"
            )
        world.audit(Outcome.REFUSED, artifact="image/app", principal="c4", code="policy.frozen", detail=NASTY, rule="freeze-prod")
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(base_url=str(world.client.make_url("/")), java_script_enabled=False)
        page = await context.new_page()
        await page.goto("/audit")
        await page.get_by_label("API key").fill(world.key_of("operator"))
        await page.get_by_role("button").click()
        await page.goto("/audit")
        yield page
        await browser.close()


async def test_find_and_read(page: Page) -> None:
    """A question is asked with a form; a record opens to all that is known, and what others wrote is shown as text."""
    await page.get_by_label("Words").fill("frozen")
    await page.get_by_label("Decision").select_option("refused")
    await page.get_by_role("button", name="Find").click()
    rows = page.get_by_role("row")
    await expect(rows).to_have_count(2)
    await page.locator("summary").click()
    await expect(page.get_by_text("freeze-prod", exact=True)).to_be_visible()
    await expect(page.locator("dl.facts").get_by_text(NASTY)).to_be_visible()
    assert await page.locator("main img").count() == 0
    await expect(page.get_by_label("Words")).to_have_value("frozen")


async def test_pages(page: Page) -> None:
    """Newest first; earlier records are a link away, under the same question."""
    await page.get_by_label("Who").fill("c24")
    await page.get_by_role("button", name="Find").click()
    await expect(page.get_by_role("row")).to_have_count(101)
    await page.get_by_role("link", name="Earlier records").click()
    await expect(page.get_by_role("row")).to_have_count(21)
    await expect(page.get_by_role("link", name="Earlier records")).to_have_count(0)


async def test_questions_that_make_no_sense(page: Page) -> None:
    """What cannot be answered is told beside the form, which keeps what was asked."""
    await page.get_by_label("From").fill("2026-11-23T12:00")
    await page.get_by_label("Before").fill("2026-11-22T12:00")
    await page.get_by_role("button", name="Find").click()
    await expect(page.get_by_role("alert")).to_contain_text("`since` must be before `until`")
    await expect(page.get_by_label("From")).to_have_value("2026-11-23T12:00")
