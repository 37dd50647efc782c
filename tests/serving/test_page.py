"""The page in a real browser: what it shows is what the samplers compute."""

import functools
import re
import shlex
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

import tfgen
from tests import commands
from tests.errors import refuses
from tests.serving import browser as chromium
from tests.serving.browser import (
    last_point,
    open_file,
    open_page,
    reload,
    rounded,
    settle,
    shown,
    slide,
    sync_api,
    visit,
    with_statistics,
)
from tests.serving.conftest import serving, wait_for
from tfgen import figures
from tfgen.publishing import export, versions
from tfgen.publishing.sampler import Sampler
from tfgen.sampling import complete
from tfgen.serving import preview, static

pytestmark = pytest.mark.slow

expect = sync_api.expect
PAGE = Path(tfgen.__file__).parent / "serving" / "page"
VIEWS = ("samples", "between", "plane", "draw", "compare", "game")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def desktop(browser: Any) -> Any:
    return open_page(browser, permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture(scope="module")
def phone(browser: Any) -> Any:
    return open_page(browser, viewport={"width": 360, "height": 740}, has_touch=True)


@pytest.fixture
def page(desktop: Any) -> Iterator[Any]:
    desktop.complaints = []
    yield desktop
    desktop.unroute_all(behavior="ignoreErrors")
    assert not desktop.complaints


@pytest.fixture(scope="module")
def folder_url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an exported folder on a server that knows nothing of models."""
    target = tmp_path_factory.mktemp("static") / "page"
    paths = versions.shipped_folder() / "vae" / "1", folder / "vae-tiny" / "2"
    paths += (folder / "gan-classes" / "2",)
    chosen = [versions.Version.at(path) for path in paths]
    static.write_page(chosen, target, "https://example.org/digits")
    handler = functools.partial(QuietHandler, directory=str(target))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Logs nothing."""


@pytest.fixture(params=["url", "folder_url"], ids=["server", "folder"])
def place(request: pytest.FixtureRequest) -> str:
    """The address of the page of a server, and of an exported folder."""
    return request.getfixturevalue(request.param)


def assert_shown(canvases: Any, images: Any) -> None:
    """Asserts that canvases show images, up to a grey level.

    What the page computes in another batch, or in the browser, differs in the last digits, which
    may round a pixel to the next level.
    """
    assert np.abs(shown(canvases) - rounded(images).astype(int)).max() <= 1


def shipped(name: str) -> Sampler:
    return Sampler(versions.shipped_folder() / name / "1")


@pytest.fixture(scope="module")
def vae() -> Sampler:
    return shipped("vae")


# --- the files --------------------------------------------------------------------------


def test_the_page_is_small_and_whole() -> None:
    texts = {path.name: path.read_text() for path in PAGE.iterdir()}
    assert sum(len(text.encode()) for text in texts.values()) < 200_000
    index = texts["index.html"]
    # The server's policy allows neither scripts nor styles inside of the HTML.
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", index)
    for name, text in texts.items():
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), name


# --- Samples ----------------------------------------------------------------------------


def test_samples_are_those_of_the_sampler(
    page: Any, place: str, folder: Path, vae: Sampler
) -> None:
    opening: list[Any] = []
    # Requests for what must be there before the first image.
    page.route(re.compile("/metadata$|/decode.bin$"), lambda route: opening.append(route))
    visit(page, place, "samples", wait=False, seed=7, model="vae")
    expect(page.locator("[data-loading]:not([data-loading=''])").first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Image 25, seed"))).to_be_visible()
    canvases = page.locator(".grid canvas")
    expect(canvases.first).not_to_have_css("background-color", "rgb(0, 0, 0)")
    for route in opening:
        route.continue_()
    page.unroute_all()
    settle(page)
    assert_shown(canvases, vae.sample(25, seed=7))

    slide(page.get_by_label("Temperature"), "ArrowLeft", 6)
    settle(page)
    latents = vae.latents(tfgen.random.image_seeds(7, 25)) * np.float32(0.7)
    assert_shown(canvases, vae.decode(latents))
    slide(page.get_by_label("Temperature"), "ArrowRight", 6)

    page.get_by_role("button", name="Add a model").click()
    second = page.locator(".columns > section").nth(1)
    second.get_by_label("Model").select_option("gan-classes")
    settle(page)
    gan = Sampler(folder / "gan-classes" / "2")
    canvases = page.get_by_role("group", name="gan-classes version 2").locator("canvas")
    assert_shown(canvases, gan.sample(25, seed=7))
    second.get_by_role("combobox", name="Class").select_option("1")
    settle(page)
    assert_shown(canvases, gan.sample(25, seed=7, labels=1))

    reload(page, class2=1)
    assert_shown(canvases, gan.sample(25, seed=7, labels=1))
    page.get_by_role("button", name="Remove gan-classes").click()
    expect(page.locator(".columns > section")).to_have_count(1)


def test_the_first_view_and_the_way_back(page: Any, url: str, vae: Sampler) -> None:
    # Own models, then a shipped one of each further family.
    with_statistics(page, {}, ["gan-classes", "vae", "gan"])
    visit(page, url, "samples", seed=7)
    columns = page.locator(".columns > section")
    names = [column.get_by_label("Model").input_value() for column in columns.all()]
    assert names == ["gan-classes", "vae"]
    expect(columns.nth(1).locator("summary")).to_contain_text("100 epochs")
    seed = page.get_by_label("Seed of the grid", exact=True)
    page.get_by_role("button", name="New seed of the grid").click()
    # The address is written a few times a second.
    expect(page).not_to_have_url(re.compile("seed=7(&|$)"))
    settle(page)
    page.go_back()
    expect(seed).to_have_value("7")
    settle(page)
    canvases = page.get_by_role("group", name="vae version 1").locator("canvas")
    assert_shown(canvases, vae.sample(25, seed=7))


def test_an_image_comes_with_what_gives_it_again(
    page: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    visit(page, url, "samples", seed=7, model="gan-classes", temperature=0.5)
    page.get_by_role("button", name=re.compile("^Image 5 ")).click()
    settle(page)
    panel = page.get_by_role("complementary", name="Image")
    seed = int(tfgen.random.image_seeds(7, 25)[4]) % 2**32
    expect(panel).to_contain_text(f"seed {seed}")
    expect(panel).to_contain_text("class 1")
    (pixels,) = shown(panel.locator("canvas"))

    sample = shlex.split(panel.locator("code").inner_text())
    assert sample[:2] == ["tfgen-sample", "gan-classes"]
    (image,) = commands.npz("sample", *sample[1 : sample.index("--out")])["images"]
    assert np.abs(pixels - image.astype(int)).max() <= 1  # see `assert_shown`

    panel.get_by_label("Enlarge").select_option("4")
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download PNG").click()
    with Image.open(download.value.path()) as file:
        np.testing.assert_array_equal(file.convert("RGB"), pixels.repeat(4, 0).repeat(4, 1))
    assert str(seed) in download.value.suggested_filename

    panel.get_by_role("button", name="Copy image").click()
    expect(panel.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.read().then(([{types}]) => types)") == ["image/png"]


def test_a_bar_changes_the_image(page: Any, url: str, vae: Sampler) -> None:
    visit(page, url, "samples", seed=3, model="vae", image="1.2")
    panel = page.get_by_role("complementary", name="Image")
    latents = vae.latents([tfgen.random.image_seeds(3, 3)[2]])
    expected = vae.sample(seeds=tfgen.random.image_seeds(3, 3)[2:])
    assert_shown(panel.locator("canvas"), expected)

    bars = panel.get_by_role("slider")
    box = bars.bounding_box()
    # Down at the fourth of twenty bars, up where its value is 1.75: a quarter from the top.
    x = box["x"] + 3.5 * box["width"] / 20
    page.mouse.move(x, box["y"] + 0.6 * box["height"])
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 4, steps=4)
    page.mouse.up()
    expect(bars).to_have_attribute("aria-valuetext", re.compile("dimension 4 of 20: 1.7"))
    settle(page)
    latents[0, 3] = float(bars.get_attribute("aria-valuenow"))
    changed = vae.decode(latents)
    assert_shown(panel.locator("canvas"), changed)
    assert np.abs(changed - expected).max() > 0.1

    reload(page, edit=f"3%7E{latents[0, 3]:g}")
    assert_shown(panel.locator("canvas"), changed)
    panel.get_by_role("button", name="Undo the changes").click()
    settle(page)
    assert_shown(panel.locator("canvas"), expected)


# --- Between ----------------------------------------------------------------------------


def test_the_ways_are_those_of_the_sampler(page: Any, place: str, vae: Sampler) -> None:
    visit(page, place, "between", model="vae")
    choices = page.get_by_role("group", name="Images", exact=True).get_by_role("button")
    choices.nth(3).click()
    choices.nth(8).click()
    settle(page)
    seeds = tfgen.random.image_seeds(0, 9)
    start, end = vae.latents(seeds[[3, 8]])
    paths = {"Linear interpolation": "linear", "Spherical interpolation": "spherical"}
    latents = [figures.interpolated_latents(start, end, 9, path) for path in paths.values()]
    for name, points in zip(paths, latents, strict=True):
        assert_shown(page.get_by_role("group", name=name).locator("canvas"), vae.decode(points))

    slider = page.get_by_label("Position from start to end")
    slide(slider, "Home", 1)
    settle(page)
    assert_shown(page.locator(".path canvas"), vae.decode(np.stack([start, start])))
    expect(page.locator(".path.linear")).to_contain_text(f"length {np.linalg.norm(start):.1f}")
    page.get_by_role("button", name="Play").click()
    expect(slider).not_to_have_value("0")
    page.get_by_role("button", name="Pause").click()
    settle(page)
    images = shown(page.locator(".path canvas"))
    share = page.locator(".path canvas").first.get_attribute("data-share")
    reload(page, share=share)
    # The slider shows the nearest of its steps of 0.01.
    assert float(slider.input_value()) == pytest.approx(float(share), abs=0.00501)
    np.testing.assert_array_equal(shown(page.locator(".path canvas")), images)

    visit(page, place, "between", **{"model": "vae", "from": -5})  # an old link
    expect(page.get_by_label("Start seed", exact=True)).to_have_value(str(2**32 - 5))
    assert_shown(page.get_by_role("img", name="Start image"), vae.sample(seeds=[-5]))


# --- Plane ------------------------------------------------------------------------------


def test_the_plane_follows_the_pointer(page: Any, place: str, url: str, folder: Path) -> None:
    sampler = Sampler(folder / "vae-tiny" / "2")
    visit(page, place, "plane", model="vae-tiny")
    side = 13
    values = 3 * ((2 * np.arange(side) + 1) / side - 1)
    latents = np.array([(x, y) for y in reversed(values) for x in values], np.float32)
    images = [sampler.decode(row) for row in np.split(latents, side)]
    grid = figures.image_grid(np.concatenate(images), side, pad=0)
    (plane,) = shown(page.locator(".map canvas"))
    np.testing.assert_allclose(plane, np.broadcast_to(grid, plane.shape), atol=1)

    under_way, most = set(), [0]

    def begin(request: Any) -> None:
        if request.method == "POST":
            under_way.add(request)
            most[0] = max(most[0], len(under_way))

    page.on("request", begin)
    page.on("requestfinished", lambda request: under_way.discard(request))
    box = page.locator(".map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.move(middle[0] + box["width"] / 4, middle[1] - box["height"] / 3, steps=40)
    picture = page.get_by_role("img", name=re.compile("^the image at right 1.5"))
    expect(picture).to_have_attribute("data-x", re.compile(r"1\.[45]"))
    settle(page)
    assert most == [int(place == url)]
    point = [[float(picture.get_attribute(f"data-{axis}")) for axis in "xy"]]
    np.testing.assert_allclose(point, [[1.5, 2]], atol=0.02)
    assert_shown(picture, sampler.decode(point))

    page.mouse.down()
    page.locator(".map").press("ArrowLeft")
    expect(page.locator(".position")).to_contain_text(f"right {point[0][0] - 0.1:.2f}")
    reload(page, x=f"{point[0][0] - 0.1:.4g}")
    expect(page.locator(".position")).to_contain_text(f"right {point[0][0] - 0.1:.2f}")


def test_directions_of_many_latents(page: Any, url: str, vae: Sampler) -> None:
    directions = {"mean": np.full(20, 0.1), "first": np.eye(20)[4], "second": np.eye(20)[7]}
    lists = {name: vector.tolist() for name, vector in directions.items()}
    with_statistics(page, {"vae": {"latent_directions": lists}})
    visit(page, url, "plane", model="vae", x=1.5, y=-2)
    expect(page.get_by_label("Directions")).to_have_value("principal")
    mean, first, second = directions.values()
    expected = vae.decode(np.float32([mean + 1.5 * first - 2 * second]))
    picture = page.get_by_role("img", name=re.compile("^the image at right"))
    assert_shown(picture, expected)

    page.get_by_label("Directions").select_option("random")
    page.get_by_role("spinbutton", name="Seed").fill("11")
    settle(page)
    page.locator(".map").press("ArrowRight")
    settle(page)
    latents, other = vae.latents([11, 12])
    length = np.linalg.norm(latents)
    direction = other - latents * (other @ latents) / length**2
    latents += 0.1 * length / 3 * direction / np.linalg.norm(direction)
    differences = shown(picture) - rounded(vae.decode([latents])).astype(int)
    assert np.abs(differences).max() <= 1


# --- Draw -------------------------------------------------------------------------------


def test_what_the_models_make_of_a_drawing(
    page: Any, url: str, vae: Sampler, digits: np.ndarray
) -> None:
    scale = {"test": [0.8, 1.0, 1.3], "inverted": [2.5, 3.0, 3.5], "noise": [10, 10.2, 10.4]}
    with_statistics(page, {"flow": {"bits_per_dim": scale}})
    visit(page, url, "draw", **{"model-posterior": "vae"})
    draw_one(page)
    page.wait_for_url(lambda address: np.allclose(last_point(address), [115, 204], atol=1))
    classifier = page.get_by_role("region", name=re.compile("^The classifier"))
    expect(classifier).to_contain_text("Most probable: 1")
    settle(page)
    (seen,) = shown(page.get_by_role("img", name="the drawing as the models see it"))
    image = seen[None, ..., :1]
    assert image.shape == (1, 28, 28, 1)
    rows = np.nonzero(image[0, ..., 0].max(axis=1) > 24)
    assert np.ptp(rows) in (18, 19)  # MNIST's digits are 20 pixels high
    mean = vae.encode(image)
    assert_shown(page.get_by_role("img", name="the reconstruction"), vae.decode(mean))
    page.get_by_label("Seed of the sample", exact=True).fill("7")
    settle(page)
    way = figures.interpolated_latents(mean[0], vae.latents([7])[0], 3, "spherical")
    assert_shown(page.get_by_role("img", name="on its way"), vae.decode(way[1:2]))
    bits = float(page.locator("[data-bits]").get_attribute("data-bits"))
    inputs = {"images": image.tolist(), "seed": [0]}
    body = {"signature_name": "log_prob", "inputs": inputs}
    answer = requests.post(
        f"{url}/v1/models/flow:predict", json=body, timeout=commands.PATIENCE
    ).json()
    np.testing.assert_allclose(bits, answer["outputs"]["bits_per_dim"][0], rtol=1e-5)
    expect(page.locator(".chart li:has(.tick)")).to_have_count(4)

    distances = np.sort(np.linalg.norm(vae.encode(digits) - mean, axis=1))
    neighbours = page.locator(".neighbours li")
    expect(neighbours).to_have_text([re.compile(r"^distance \d+\.\d$")] * 5)
    told = [float(text.split()[1]) for text in neighbours.all_inner_texts()]
    np.testing.assert_allclose(told, distances[:5], atol=0.0501)  # rounded to a tenth

    reload(page)
    (again,) = shown(page.get_by_role("img", name="the drawing as the models see it"))
    np.testing.assert_array_equal(again, seen)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Draw something, or take a test image.")).to_have_count(3)

    open_file(page, figures.png_bytes(digits[42], least_side=0))
    settle(page)
    (seen,) = shown(page.get_by_role("img", name="the drawing as the models see it"))
    np.testing.assert_array_equal(seen[..., :1], digits[42])
    expect(page.get_by_text("digit.png stays on this machine")).to_be_visible()
    open_file(page, b"not an image")
    expect(page.get_by_text("not an image that this browser can read")).to_be_visible()

    page.route("**:predict", lambda route: None)
    visit(page, url, "draw", wait=False, test=4)
    expect(page.get_by_text("Computing …")).to_have_count(3)
    page.unroute_all()
    with_statistics(page, {}, ["vae-tiny"])
    visit(page, url, "draw")
    expect(page.locator("main")).not_to_contain_text("digit")


def test_a_drawing_for_a_model_of_pictures_on_white(page: Any, tmp_path: Path) -> None:
    model = tfgen.VAE(image_shape=(28, 28, 1), latent_dim=2, hidden=(4,))
    run = {"family": "vae", "data": {"background": 0.98}}
    export.publish(model, tmp_path, "glyphs", run=run)
    with_statistics(page, {}, ["glyphs", "classifier"])
    white = np.full((14, 14, 1), 255, np.uint8)
    white[5:9, 5:9] = 0
    with serving(tmp_path) as url:
        visit(page, url, "draw")
        assert (shown(page.locator("canvas.pad")) == 255).all()
        draw_one(page)
        # The classifier was trained on white digits on black, so it sees one.
        classifier = page.get_by_role("region", name=re.compile("^The classifier"))
        expect(classifier).to_contain_text("Most probable: 1")
        for picture, is_inverted in ((None, False), (255 - white, True), (white, False)):
            if picture is not None:
                open_file(page, figures.png_bytes(picture, least_side=0))
            box = page.get_by_label("Invert light and dark")
            expect(box).to_be_checked(checked=is_inverted)
            (seen,) = shown(page.get_by_role("img", name="the drawing as the models see it"))
            assert seen[0].min() == 255 and seen[13, 14].max() < 100
        settle(page)


def test_the_models_finish_a_drawing(page: Any, place: str, vae: Sampler) -> None:
    with_statistics(page, {}, ["vae", "classifier"])
    visit(page, place, "draw")
    draw_one(page)
    page.get_by_label("Centre it").uncheck()  # so that what the models see is what they finish
    settle(page)
    seen = shown(page.get_by_role("img", name="the drawing as the models see it"))[..., :1]
    card = page.get_by_role("region", name="Finished by vae version 1")
    for seed in (0, 1):
        page.get_by_role("button", name="Let the models finish it").press("Enter")
        settle(page)
        finished, blank = shown(card.locator("canvas"))[..., :1], seen[0, ..., 0] <= 24
        assert (finished == seen)[:, ~blank].all() and (finished != finished[0]).any()
        expected = complete(vae, seen, blank, rounds=12, seed=seed)[0]
        assert np.abs(finished - expected.astype(int)).mean() < 1


def draw_one(page: Any) -> None:
    """Draws a digit one by the mouse."""
    box = page.locator("canvas.pad").bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.8 * box["height"], steps=12)
    page.mouse.up()


# --- Compare ----------------------------------------------------------------------------


def test_comparison_and_game(page: Any, place: str, vae: Sampler, digits: np.ndarray) -> None:
    def add_version(route: Any) -> None:
        listing = route.fetch().json()
        (entry,) = (model for model in listing["models"] if model["name"] == "vae")
        entry["versions"].insert(0, {"number": 2, "shipped": False, "evaluation": None})
        route.fulfill(json=listing)

    def use_first(route: Any) -> None:
        route.continue_(url=re.sub(r"/2\b", "/1", route.request.url))

    page.route("**/page/models.json", add_version)
    page.route(re.compile("/vae/(versions/)?2"), use_first)
    visit(page, place, "compare", seed=5)
    expect(page.get_by_text("vae version 2 is not evaluated")).to_be_visible()
    column = page.get_by_role("region", name="vae", exact=True)
    column.get_by_label("Version").select_option("1")
    settle(page)
    canvases = column.locator("canvas")
    assert_shown(canvases, vae.sample(16, seed=5))
    known = {image.tobytes() for image in digits}

    def is_real(pixels: np.ndarray) -> bool:
        return pixels[..., 0].tobytes() in known

    real = shown(page.get_by_role("region", name="real images").locator("canvas"))
    assert all(map(is_real, real))
    fid = versions.read_manifest(vae.version.path)["evaluation"]["samples"]["fid"]
    expect(page.get_by_role("row", name=re.compile("^FID"))).to_contain_text(f"{fid:.2f}")

    # Models are compared with those of the same images.
    page.get_by_label("Data set").select_option("unknown, 6 × 6")
    reload(page, data="unknown%2C+6+%C3%97+6")
    expect(page.locator(".columns h2")).to_have_text(["gan-classes", "vae-tiny"])

    visit(page, place, "game", against="vae", round=9)
    game = page.get_by_role("region", name="Game")
    expect(game.get_by_role("button", name="Check")).to_be_enabled()
    pictures = shown(game.locator("canvas"))
    truth = [is_real(pixels) for pixels in pictures]
    assert sum(truth) == 6
    images = game.get_by_role("button", name=re.compile("^Image"))
    for index, is_picked in enumerate(truth):
        if is_picked and index != truth.index(True):
            images.nth(index).click()
    game.get_by_role("button", name="Check").click()
    expect(game.get_by_role("status")).to_contain_text("You classified 11 of 12 images correctly")
    expect(game.get_by_role("row", name=re.compile("^vae"))).to_have_text("vae660")
    expect(game.get_by_role("row", name=re.compile("^real images"))).to_have_text("real images651")
    game.get_by_role("button", name="Copy the result").click()
    expect(game.get_by_role("button", name="Copied")).to_be_visible()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("I got 11 of 12")
    page.goto(text.split()[-1])
    reload(page)
    np.testing.assert_array_equal(shown(game.locator("canvas")), pictures)


# --- the exported folder ------------------------------------------------------------------


def test_latents_that_the_page_cannot_draw_are_refused() -> None:
    model = SimpleNamespace(title="mine version 2", has_signature=lambda _: True, latent_dim=2)
    model.latents = lambda seeds: np.zeros((len(seeds), 2))
    refuses(lambda: static.check_latents(model), "cannot draw the latents of mine version 2")


def test_the_browser_computes_what_the_sampler_does(
    page: Any, folder_url: str, vae: Sampler, digits: np.ndarray
) -> None:
    visit(page, folder_url, "draw", test=4)
    mean = vae.encode(digits[4:5])
    assert_shown(page.get_by_role("img", name="the reconstruction"), vae.decode(mean))

    seeds = [-(2**31), -1, 0, 7, 2**31 - 1]
    script = """async ([seed, url]) => {
        const {latents, predict, randomWords} = await import(`${url}/page/browser.js`);
        const {readListing} = await import(`${url}/page/requests.js`);
        const {Model} = await import(`${url}/page/models.js`);
        const listing = await readListing();
        const model = new Model(listing.models.find(({name}) => name === "vae"));
        const {signal} = new AbortController();
        const ask = (name) => predict(model, 1, name, {seed}, signal);
        const words = seed.map((value) => randomWords(value, 20));
        return [words, await ask("latents"), await ask("sample")];
    }"""
    words, latents, images = page.evaluate(script, [seeds, folder_url])
    bits = tfgen.random.random_bits(np.int32(seeds), 20, tfgen.random.LATENTS)
    np.testing.assert_array_equal(np.int32(words).view(np.uint32), bits)
    np.testing.assert_array_equal(np.float32(latents), vae.latents(seeds))
    np.testing.assert_allclose(images, vae.sample(seeds=seeds), atol=1 / 510)  # half a level

    page.route("**/gan-classes/**", lambda route: route.abort())
    visit(page, folder_url, "samples", model="gan-classes", seed=7)
    expect(page.get_by_role("alert")).to_contain_text("There is no answer")
    expect(page.locator("body")).not_to_contain_text("server")
    page.unroute_all()
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    settle(page)
    expect(page.get_by_role("alert")).to_be_empty()
    page.complaints = [text for text in page.complaints if "Failed to load" not in text]


def test_first_pictures_of_any_size_fit_a_slow_connection() -> None:
    images = np.random.default_rng(0).random((169, 48, 48, 3))
    assert len(preview.Drawn(images[:, 0, :2, 0], None, images).webp()) <= 60_000


def test_a_slow_phone_has_pictures_before_a_model(
    browser: Any, folder_url: str, vae: Sampler, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_page(browser, viewport={"width": 390, "height": 844}, has_touch=True)
    tools, sizes = page.context.new_cdp_session(page), list[float]()
    network = {"offline": False, "latency": 300, "uploadThroughput": 94_000}  # [ms], [bytes/s]
    tools.send("Network.enable")
    tools.send("Network.emulateNetworkConditions", {**network, "downloadThroughput": 200_000})
    tools.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    tools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    times = [time.monotonic()]
    # The first pictures of each view come with the page, and are those of the sampler.
    for view in ("samples", *VIEWS):
        visit(page, folder_url, view, model="vae")
        times.append(time.monotonic())
    assert not re.search("/models/|/ort", " ".join(asked))
    visit(page, folder_url, "samples", model="vae")
    canvases = page.locator(".grid canvas")
    assert_shown(canvases, vae.sample(25, seed=0))
    before, begin = sum(sizes), time.monotonic()
    page.get_by_label("Seed of the grid", exact=True).fill("7")
    settle(page)
    seconds = time.monotonic() - begin
    assert_shown(canvases, vae.sample(25, seed=7))
    with capsys.disabled():
        print(f"\nfirst picture {times[1] - times[0]:.1f} s, own image {seconds:.1f} s later, ")
        print(f"{before / 1e6:.2f} and {(sum(sizes) - before) / 1e6:.2f} MB")
    assert not page.complaints


def test_without_a_network_the_page_is_there_again(
    browser: Any, folder_url: str, vae: Sampler
) -> None:
    page = open_page(browser, service_workers="allow")
    visit(page, folder_url, "samples", model="vae")
    image = page.locator("meta[property='og:image']").get_attribute("content")
    address = image.replace("https://example.org/digits", folder_url)
    assert requests.get(address, timeout=commands.PATIENCE).content[1:4] == b"PNG"
    page.evaluate("navigator.serviceWorker.ready")
    page.context.set_offline(True)
    visit(page, folder_url, "samples", model="vae", seed=7)
    assert_shown(page.locator(".grid canvas"), vae.sample(25, seed=7))
    page.context.close()


# --- all views --------------------------------------------------------------------------


def test_the_story_asks_and_shows(page: Any, url: str, vae: Sampler) -> None:
    with_statistics(page, {}, ["vae", "gan", "classifier"])  # there are questions of other models
    visit(page, url, "samples", model="vae")
    page.get_by_role("link", name="Story").click()
    addresses = []
    for number in range(1, 5):
        expect(page.get_by_text(f"{number} of 4")).to_be_visible()
        expect(page.get_by_role("button", name="Show me")).to_be_focused()
        expect(page.locator("canvas").first).to_be_hidden()
        page.keyboard.press("Enter")
        settle(page)
        addresses.append(page.url)
        page.keyboard.press("Enter")  # the next question, or on to the game
    expect(page.get_by_role("region", name="Story")).to_have_count(0)
    expect(page.get_by_role("region", name="Game")).to_be_in_viewport()

    seeds = [int(seed) for seed in re.findall(r"(?:from|to)=(-?\d+)", addresses[1])]
    images = np.uint8(rounded(vae.sample(seeds=seeds))[..., :1])
    logits = shipped("classifier").call("features", images=images)["logits"]
    assert logits.argmax(1).tolist() == [3, 8]


def test_the_pictures_of_a_run(
    page: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "a run" / "figures"
    folder.mkdir(parents=True)
    for width, name in enumerate(("curves", "samples-0", "samples-20"), start=8):
        Image.new("L", (width, 8)).save(folder / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    visit(page, url, "learning")
    samples, curves = page.locator(".learning img").all()
    expect(curves).to_have_js_property("naturalWidth", 8)
    expect(samples).to_have_js_property("naturalWidth", 10)
    slide(page.get_by_label("Epochs"), "ArrowLeft", 1)
    reload(page, at=0)
    expect(samples).to_have_js_property("naturalWidth", 9)


def test_errors_say_what_happened(page: Any, url: str, folder_url: str) -> None:
    wrong = "samples model2 x, between share x, plane directions up, draw strokes *, game round 9e9"
    for view, name, text in map(str.split, wrong.split(", ")):
        visit(page, url, view, **{name: text})
        expect(page.get_by_role("alert")).to_contain_text(f"{name}={text}")
    visit(page, folder_url, "learning")
    expect(page.get_by_role("alert")).to_contain_text("#learning")
    visit(page, url, "samples", model="vae-tiny")
    statuses = [503, 503]

    def answer(route: Any) -> None:
        if statuses:
            headers = {"Retry-After": "0.1"}
            body = {"error": "the server is busy"}
            route.fulfill(status=statuses.pop(), headers=headers, json=body)
        else:
            route.continue_()

    page.route("**:predict", answer)
    page.get_by_label("Seed of the grid", exact=True).fill("8")
    settle(page)  # asked again, and answered
    assert not statuses and page.get_by_role("alert").inner_text() == ""

    statuses.append(404)
    page.get_by_label("Seed of the grid", exact=True).fill("9")
    expect(page.get_by_role("alert")).to_contain_text("Reload the page")
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    settle(page)
    expect(page.get_by_role("alert")).to_be_empty()

    page.route("**:predict", lambda route: route.abort())
    page.get_by_label("Seed of the grid", exact=True).fill("10")
    expect(page.get_by_role("alert")).to_contain_text("There is no answer")
    settle(page)
    # The browser reports the refused requests itself.
    page.complaints = [text for text in page.complaints if "Failed to load" not in text]


def test_a_phone_shows_an_image_in_place_and_shares_it(phone: Any, url: str) -> None:
    phone.add_init_script("""
        navigator.canShare = () => true;
        navigator.share = async ({url, files}) => (window.sent = url ?? files[0].name);
    """)
    visit(phone, url, "samples")
    stops = phone.locator(".grid button[tabindex='0']")  # one a grid; there is one grid
    for key, number in (("End", 25), ("ArrowUp", 20), ("ArrowLeft", 19)):
        stops.press(key)
        expect(stops).to_have_accessible_name(re.compile(rf"^Image {number}\b"))
    stops.tap()
    settle(phone)
    panel = phone.get_by_role("complementary", name="Image")
    for part in (stops, panel.locator("canvas"), panel.get_by_role("slider")):
        expect(part).to_be_in_viewport(ratio=0.9)
    panel.get_by_role("button", name="Download PNG").tap()
    wait_for(lambda: str(phone.evaluate("window.sent")).endswith(".png"))
    panel.get_by_role("button", name="Close the image").tap()
    # The address is written a few times a second.
    expect(phone).not_to_have_url(re.compile("image="))
    phone.get_by_role("button", name="Share").tap()
    assert phone.evaluate("sent") == phone.url


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_accessible_on_a_phone(phone: Any, url: str, view: str) -> None:
    page = phone
    page.goto("about:blank")  # an earlier view still asks its server
    hosts = set()
    page.on("request", lambda request: hosts.add(re.match(r"\w+:/*[^/]*", request.url)[0]))
    tiny: dict[str, Any] = {"draw": {}, "compare": {}, "game": {"against": "vae"}}
    visit(page, url, view, **tiny.get(view, {"model": "vae-tiny"}))
    assert len(page.get_by_role("heading", level=1).all()) == 1
    nameless = """nodes => nodes.filter(node => !(node.getAttribute("aria-label")
        || node.labels?.length || node.textContent.trim())).map(node => node.outerHTML)"""
    controls = "button, select, input, a, [role=slider], [role=application], [role=img]"
    assert page.locator(controls).evaluate_all(nameless) == []
    expect(page.locator('[aria-hidden=""]')).to_have_count(0)  # would not be hidden
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    current = page.get_by_role("navigation").locator("[aria-current=page]")
    expect(current).to_have_count(1)
    # The first stop of the tabulator skips the views; the next ones are the views.
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Samples")).to_be_focused()
    if view == "compare":
        table = page.get_by_role("group", name="Table of evaluations")
        caption = page.get_by_text("distance to real images (lower is better)")
        caption.evaluate("node => node.scrollIntoView({block: 'center', inline: 'nearest'})")
        table.press("ArrowRight")
        wait_for(lambda: table.evaluate("node => node.scrollLeft") > 0)
        expect(caption).to_be_in_viewport()
    for width, theme in ((1400, "dark"), (390, "light"), (320, "light"), (360, "light")):
        page.set_viewport_size({"width": width, "height": 740})
        sides = "nodes => nodes.flatMap(node => [node.offsetWidth || 24, node.offsetHeight || 24])"
        assert min(page.locator("button, select, input:not(.unseen)").evaluate_all(sides)) >= 24
        page.emulate_media(color_scheme=theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert width < 390 or chromium.serious_faults(page) == []
    assert hosts <= {url, "about:blank"}
    assert not page.complaints
