"""The pages in a real browser: found, read, copied and watched, by everybody, whatever is in them."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.conftest import RunningMirror
from tests.fakes.faults import Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.pages.conftest import Open
from tests.pages.shop import HOSTILE, STOCK

NGINX = "/r/docker.io/library/nginx"
PAGES = ["/", "/repositories", "/repositories?q=nothing-like-it", NGINX, f"{NGINX}/-/latest", "/upstreams", "/setup"]

pytestmark = pytest.mark.browser


async def platform_page(mirror: RunningMirror, name: str) -> str:
    index = json.loads((await mirror.get(f"/v2/{name}/manifests/latest")).body)
    return f"/r/docker.io/{name}/-/{index['manifests'][0]['digest']}"


async def test_search_and_browse_to_an_image_and_copy_its_command(visit: Open, mirror: RunningMirror) -> None:
    page = await visit("/")
    await page.get_by_role("searchbox").fill("redis")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="docker.io/library/redis").click()
    await page.get_by_role("link", name="1.27.3-bookworm").first.click()
    await page.get_by_role("link", name="linux/arm64").click()
    await expect(page.get_by_text("apt-get install -y --no-install-recommends ca-certificates")).to_be_visible()
    await expect(page.get_by_role("heading", name="Layers")).to_be_visible()
    await page.get_by_role("button", name="Copy the docker command").click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"docker pull {mirror.url.removeprefix('http://')}/docker.io/library/redis@sha256:")


async def test_search_as_you_type(visit: Open) -> None:
    page = await visit("/repositories")
    await expect(page.get_by_text(f"{len(STOCK) + 1} repositories")).to_be_visible()
    await page.get_by_label("Name, tag, label or platform").press_sequentially("grafa")
    await expect(page.get_by_text("1 repository")).to_be_visible()
    await expect(page.get_by_role("link", name="grafana/grafana")).to_be_visible()
    assert page.url.endswith("q=grafa&from=&order=fitting")
    await page.get_by_label("Name, tag, label or platform").fill("")
    await page.get_by_label("From").select_option("pushed here")
    await expect(page.get_by_role("link", name="team/app")).to_be_visible()
    await expect(page.get_by_text("1 repository")).to_be_visible()


async def test_a_download_moves_its_bar(visit: Open, mirror: RunningMirror, hub: FakeHub) -> None:
    image = make_image("long", [3_000_000])
    hub.add_image("library/long", "1", image)
    hub.bandwidth = 400_000
    page = await visit("/")
    await expect(page.get_by_text("Nothing is being downloaded.")).to_be_visible()
    pull = asyncio.create_task(mirror.get(f"/v2/library/long/blobs/{image.layers[0]}"))
    bar = page.get_by_role("progressbar")
    await expect(bar).to_be_visible()
    seen: set[str | None] = set()
    while len(seen) < 3:
        seen.add(await bar.get_attribute("value", timeout=30_000))
    hub.bandwidth = None
    await pull
    await expect(page.get_by_text("Nothing is being downloaded.")).to_be_visible(timeout=30_000)


async def test_by_keyboard_alone(visit: Open) -> None:
    page = await visit("/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(3):
        await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Repositories", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/repositories")
    link = page.get_by_role("link", name="team/app")
    for _ in range(40):
        if await link.evaluate("one => one === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    await expect(link).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="team/app")).to_be_visible()


@pytest.mark.parametrize("path", PAGES)
async def test_without_a_script_all_of_it_can_be_read(visit: Open, path: str) -> None:
    page = await visit(path, scripts=False)
    await expect(page.get_by_role("heading", level=1).or_(page.locator("strong")).first).to_be_visible()


async def test_search_without_a_script(visit: Open) -> None:
    page = await visit("/repositories", scripts=False)
    await page.get_by_label("Name, tag, label or platform").fill("postgres")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_text("1 repository")).to_be_visible()


async def test_hostile_content_is_only_text(visit: Open, mirror: RunningMirror) -> None:
    """What the browser would run, or complain of, fails in `visit`."""
    page = await visit(await platform_page(mirror, "bitnami/hostile"))
    assert await page.get_by_text(HOSTILE).count() == 2
    page = await visit("/repositories?q=%3Cscript%3Ealert(3)%3C/script%3E")
    await expect(page.get_by_text("Nothing here fits")).to_be_visible()
    page = await visit("/repositories")
    await expect(page.get_by_text(HOSTILE[:40])).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [*PAGES, "image"])
async def test_nothing_serious_is_in_anybodys_way(visit: Open, mirror: RunningMirror, path: str, scheme: str) -> None:
    page = await visit(await platform_page(mirror, "library/nginx") if path == "image" else path, scheme=scheme)
    found = (await Axe().run(page)).response["violations"]
    serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


@pytest.mark.parametrize("path", [*PAGES, "image"])
async def test_on_a_phone_nothing_runs_off_the_page(visit: Open, mirror: RunningMirror, path: str) -> None:
    page = await visit(await platform_page(mirror, "library/nginx") if path == "image" else path, width=360)
    assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_on_a_phone_commands_can_be_read_and_the_menu_is_one_row(visit: Open) -> None:
    page = await visit(f"{NGINX}/-/latest", width=390)
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
    assert await page.locator(".command code").evaluate_all(cut) == []
    for path in PAGES:
        page = await visit(path, width=390)
        rows = "all => new Set(all.map(one => one.getBoundingClientRect().top)).size"
        assert await page.locator(".top nav a").evaluate_all(rows) == 1


async def test_dark_is_dark(visit: Open) -> None:
    async def ground(scheme: str) -> str:
        page = await visit("/", scheme=scheme)
        colour: str = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return colour

    assert await ground("light") == "rgb(246, 247, 245)"
    assert await ground("dark") == "rgb(16, 21, 19)"


async def test_an_upstream_that_is_silent(visit: Open, mirror: RunningMirror, hub: FakeHub) -> None:
    hub.fault("manifest", Status(500))
    await mirror.get("/v2/library/nginx/manifests/other")
    page = await visit("/upstreams")
    await expect(page.get_by_text("the upstream has a problem of its own (500)")).to_be_visible()
    await hub.stop()
    for tag in "abcd":
        await mirror.get(f"/v2/library/nginx/manifests/{tag}")
    for _ in range(20):
        await page.reload()
        if await page.get_by_text("does not answer").count():
            break
    await expect(page.get_by_text("does not answer").first).to_be_visible()


async def shoot(page: Page, name: str) -> None:
    """A picture: for the docs if `make screenshots` wants it, and else where git does not look."""
    folder = Path(os.environ.get("SCREENSHOTS", ".screenshots"))
    folder.mkdir(exist_ok=True)
    await page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_screenshots(visit: Open, mirror: RunningMirror, scheme: str, width: int) -> None:
    shown = {
        "overview": "/",
        "repositories": "/repositories",
        "repository": NGINX,
        "image": await platform_page(mirror, "library/nginx"),
        "upstreams": "/upstreams",
        "setup": "/setup",
    }
    for name, path in shown.items():
        await shoot(await visit(path, scheme=scheme, width=width), f"{name}-{scheme}-{width}")
