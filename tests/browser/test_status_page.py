"""The status page in a real Chromium, driven by Playwright, over a gateway whose stores are filled by hand."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tables.model import MARKER_KEY, Kept, Marker, ParkedCounts
from tests.gateways import World, behind, failed, in_sync

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs `chromium` on the PATH; on Debian: apt install chromium"),
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all of them, each with a profile of its own
]

#: No sandbox, because suites run as root in containers; the rest keeps the browser itself from talking to anybody.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LOOPBACK = "127.0.0.1"
#: The page fetches itself every 2 s; the rest is for a busy machine.
REFRESHED_MS = 15_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path) as world:
        world.artifact("chart/argo-cd", c8=in_sync(), c20=in_sync())
        world.artifact("image/ghcr.io/argoproj/argocd", c8=in_sync())
        yield world


@asynccontextmanager
async def browsing(browser: Browser, world: World, **options: Any) -> AsyncIterator[Page]:
    """The gateway's front page, as somebody new sees it; `options` are of the browser's context."""
    context = await browser.new_context(base_url=str(world.client.make_url("/")), **options)
    try:
        page = await context.new_page()
        await page.goto("/")
        yield page
    finally:
        await context.close()


async def log_in(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.get_by_role("button", name="Open").click()


async def test_a_key_opens_the_page(browser: Browser, world: World) -> None:
    """Whoever gives an API key sees the state of all components, and nothing of it before."""
    async with browsing(browser, world) as page:
        assert "argo-cd" not in await page.content()
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("heading", name="Everything is in step")).to_be_visible()
        for component in ("c8", "c12", "c20", "c28"):
            await expect(page.get_by_role("rowheader", name=component)).to_be_visible()


async def test_a_wrong_key_says_so(browser: Browser, world: World) -> None:
    """A wrong key leads to the form again, with the reason, and opens nothing."""
    async with browsing(browser, world) as page:
        await log_in(page, "not-a-key-of-anybody-here")
        await expect(page.get_by_role("alert")).to_contain_text("not one of ours")
        await page.goto("/")
        await expect(page.get_by_label("API key")).to_be_visible()


async def test_the_page_refreshes_itself(browser: Browser, world: World) -> None:
    """What changes in the state shows on the open page without a click: out of step, failed with its reason, and in step again."""
    async with browsing(browser, world) as page:
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("heading", name="Everything is in step")).to_be_visible()
        world.artifact("chart/argo-cd", c8=behind(), c20=failed())
        await expect(page.get_by_role("heading", name="2 pairs are out of step")).to_be_visible(timeout=REFRESHED_MS)
        await expect(page.get_by_role("cell", name="404 gone for good")).to_be_visible()
        world.artifact("chart/argo-cd", c8=in_sync(), c20=in_sync())
        await expect(page.get_by_role("heading", name="Everything is in step")).to_be_visible(timeout=REFRESHED_MS)


async def test_an_old_page_does_not_look_new(browser: Browser, world: World) -> None:
    """A page whose gateway does not answer says that what it shows is old."""
    async with browsing(browser, world) as page:
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("status")).to_have_text("live", timeout=REFRESHED_MS)
        await page.context.set_offline(True)
        await expect(page.get_by_role("status")).to_contain_text("what is shown is old", timeout=REFRESHED_MS)


async def test_the_page_works_without_javascript(browser: Browser, world: World) -> None:
    """Without JavaScript the page is complete, and the browser is told to load it again by itself."""
    world.artifact("chart/argo-cd", c8=behind(), c20=in_sync())
    async with browsing(browser, world, java_script_enabled=False) as page:
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("heading", name="1 pair is out of step")).to_be_visible()
        await expect(page.get_by_role("rowheader", name="chart/argo-cd")).to_be_visible()
        assert await page.locator("noscript").count() == 1


async def test_logging_out_ends_it(browser: Browser, world: World) -> None:
    """After logging out the page asks for a key again."""
    async with browsing(browser, world) as page:
        await log_in(page, world.key_of("operator"))
        await page.get_by_role("button", name="log out").click()
        await expect(page.get_by_label("API key")).to_be_visible()


async def test_nothing_leaves_the_machine(browser: Browser, world: World) -> None:
    """The page asks nobody but its gateway for anything: no fonts, no scripts, no images from elsewhere."""
    async with browsing(browser, world) as page:
        asked: list[str] = []
        page.context.on("request", lambda request: asked.append(request.url))
        await page.goto("/")
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("status")).to_have_text("live", timeout=REFRESHED_MS)
        assert len(asked) >= 4, "form, login, page, and the page's own refresh"
        assert {urlsplit(url).hostname for url in asked if not url.startswith("data:")} == {LOOPBACK}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone(browser: Browser, world: World, scheme: str) -> None:
    """On a narrow screen, light or dark, the page itself never scrolls sideways."""
    world.artifact("chart/a-name-that-is-longer-than-a-telephone-is-wide-by-far", c8=failed(), c20=behind())
    async with browsing(browser, world, viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("heading", name="2 pairs are out of step")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def hold(world: World, **body: Any) -> None:
    assert (await world.post("/v1/holds", json={"reason": "a bad release is out"} | body)).status == 202


async def test_holds_are_shown_and_released(browser: Browser, world: World) -> None:
    """What is held says so, with reason and author; whoever may release it does so here, and has to say why."""
    world.artifact("chart/argo-cd", c8=behind(), c20=in_sync())
    await hold(world, artifacts=["chart/*"])
    await hold(world, component="c12")
    async with browsing(browser, world) as page:
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("heading", name="2 holds are in effect")).to_be_visible()
        await expect(page.get_by_role("row", name="chart/argo-cd")).to_contain_text("operator: a bad release is out")
        await expect(page.get_by_role("row", name="c12 nats")).to_contain_text("held")
        await page.get_by_role("row", name="chart/* to all components").get_by_role("button", name="Release").click()
        await page.get_by_label("Reason").fill("mended")
        await page.get_by_role("dialog").get_by_role("button", name="Release").click()
        await expect(page.get_by_role("heading", name="1 hold is in effect")).to_be_visible(timeout=REFRESHED_MS)
        assert [command.reason for _, command in world.log.commands][-1] == "mended"


async def test_a_release_that_is_refused_says_why(browser: Browser, world: World) -> None:
    """The dialog stays open and tells what the gateway said; what was written is not lost to a refresh."""
    await hold(world, artifacts=["chart/*"])
    async with browsing(browser, world) as page:
        await log_in(page, world.key_of("operator"))
        await page.get_by_role("button", name="Release").click()
        world.log.away = True
        await page.get_by_label("Reason").fill("mended")
        await page.get_by_role("dialog").get_by_role("button", name="Release").click()
        await expect(page.get_by_role("alert")).to_contain_text("Not released: the log did not acknowledge")
        await expect(page.get_by_label("Reason")).to_have_value("mended")


async def test_who_may_not_release_is_not_offered_to(browser: Browser, world: World) -> None:
    """Somebody who may only read sees the hold and no button."""
    await hold(world, everything=True)
    async with browsing(browser, world) as page:
        await log_in(page, world.key_of("c8"))
        await expect(page.get_by_role("heading", name="1 hold is in effect")).to_be_visible()
        await expect(page.get_by_role("button", name="Release")).to_have_count(0)


async def waiting(world: World) -> str:
    """Garbage, and an artifact that is parked with two behind it. The id of the parked one."""
    text = '{"specversion": "1.0", "id": "e1", "source": "urn:bad", "type": "dev.cdevents.artifact.published.0.2.0"}'
    world.quarantined("unknown/c24", "events-00000-00000000000000000004", detail="expected JSON, found bytes that are no UTF-8")
    idents = world.parked("chart/harbor", 3, rule="charts-from-our-source")
    world.quarantined(
        "chart/harbor",
        idents[0],
        kept=Kept.PARKED,
        reason="source.denied",
        detail="found source urn:bad; expected none of urn:bad*",
        rule="charts-from-our-source",
        body_base64=base64.b64encode(text.encode()).decode(),
    )
    counted = {"json.invalid decode": 1, "source.denied charts-from-our-source": 1, "artifact.parked charts-from-our-source": 2}
    batch = world.stores[0].batch()
    parked = ParkedCounts(1, 0, int(time.time() * 1000) - 240_000)
    batch.apply("artifacts", MARKER_KEY, msgspec.json.encode(Marker(quarantined=counted, parked=parked)))
    world.stores[0].write(batch)
    return idents[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_quarantine_is_shown_and_decided(browser: Browser, world: World, scheme: str) -> None:
    """What was set aside, why, with its original text; whoever may release or discard it does so here, and has to say why."""
    ident = await waiting(world)
    async with browsing(browser, world, color_scheme=scheme) as page:
        await log_in(page, world.key_of("operator"))
        await expect(page.get_by_role("heading", name="4 messages are in quarantine 1 artifact is parked")).to_be_visible()
        row = page.get_by_role("row", name="chart/harbor")
        await expect(row).to_contain_text("expected none of urn:bad*")
        await row.get_by_role("button", name="Show").click()
        shown = page.get_by_role("dialog")
        await expect(shown).to_contain_text("in front of 2 that wait")
        await expect(shown.locator("pre")).to_contain_text('"source": "urn:bad"')
        await shown.get_by_role("button", name="Close").click()
        await row.get_by_role("button", name="Release…").click()
        await page.get_by_label("Reason, for the audit trail").fill("asked the producer")
        await page.get_by_role("button", name="Release", exact=True).click()
        await expect(page.get_by_role("dialog")).to_be_hidden()
    ((key, command),) = world.log.commands
    assert (key, command.verb, command.subject, command.reason) == (
        "chart/harbor",
        "quarantine.release",
        ident,
        "asked the producer",
    )


async def test_who_may_not_decide_sees_the_message_and_no_more(browser: Browser, world: World) -> None:
    """Somebody who may only read can look, and is offered nothing else."""
    await waiting(world)
    async with browsing(browser, world) as page:
        await log_in(page, world.key_of("c12"))
        row = page.get_by_role("row", name="chart/harbor")
        await expect(row.get_by_role("button", name="Show")).to_be_visible()
        await expect(row.get_by_role("button", name="Release…")).to_have_count(0)
        await expect(row.get_by_role("button", name="Discard…")).to_have_count(0)
