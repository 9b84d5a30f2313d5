"""A real browser, and a server with something to see."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.conftest import RunningMirror, Server
from tests.fakes.upstream import FakeHub
from tests.pages.shop import fill, pull_everything, push

Open = Callable[..., Awaitable[Page]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is missing")
    async with async_playwright() as playwright:
        # Root has no sandbox; and this browser sees nothing but the server of the test.
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def mirror(server: Server, hub: FakeHub) -> RunningMirror:
    """What was pulled and pushed is to be seen, and counted."""
    fill(hub)
    mirror = await server()
    await pull_everything(mirror)
    await push(mirror, "team/app", "1.0", "latest")
    await mirror.usage.flush()
    return mirror


@pytest.fixture
async def visit(browser: Browser, mirror: RunningMirror) -> AsyncIterator[Open]:
    """Open a page. Whatever the browser complains of fails the test, and so does a request to anywhere else."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    async def visit(path: str, *, scheme: str = "light", width: int = 1280, scripts: bool = True) -> Page:
        context = await browser.new_context(
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": 900},
            java_script_enabled=scripts,
        )
        contexts.append(context)
        await context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = await context.new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        page.on("request", lambda sent: None if sent.url.startswith(mirror.url) else complaints.append(sent.url))
        answer = await page.goto(mirror.url + path)
        assert answer is not None
        assert answer.ok
        return page

    yield visit
    for context in contexts:
        await context.close()
    assert complaints == []
