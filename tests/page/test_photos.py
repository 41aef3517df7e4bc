"""Photos given to the page become the images that `falcon-mnist infer` makes of them."""

from __future__ import annotations

import io
from base64 import b64encode

import numpy as np
from asking import Document
from browsing import ONE, OpenPage, Site, Stroke
from photos import photo
from PIL import Image, ImageDraw
from playwright.sync_api import Page, expect

from falcon_mnist.client.pictures import prepare

PREPARED = """async ([width, height, bytes]) => {
    const grey = atob(bytes), rgba = new Uint8ClampedArray(4 * width * height).fill(255);
    const { inkOfPhoto } = await import("./page/photo.js"), { prepare } = await import("./page/prepare.js");
    for (let i = 0; i < grey.length; i++) rgba.fill(grey.charCodeAt(i), 4 * i, 4 * i + 3);
    return [...prepare(inkOfPhoto(rgba, width, height), width, height)];
}"""


def test_ink_is_found_in_uneven_light_as_the_command_finds_it(
    site: Site, trained: Document, open_page: OpenPage
) -> None:
    page = open_page()
    random = np.random.default_rng(7)
    apart = []
    for image in site.client.api.digits("test", range(4)).images:
        picture = Image.fromarray(np.round(255 * photo(image, random)).astype(np.uint8))
        picture.thumbnail((200, 200))
        grey = np.asarray(picture)
        found = page.evaluate(PREPARED, [picture.width, picture.height, b64encode(grey.tobytes()).decode()])
        apart.append(float(np.abs(prepare(grey.astype(np.float32) / 255) - np.array(found, float)).mean()))
    assert max(apart) < 6, apart  # of 255; a digit shifted by one pixel is 30 apart


def give(page: Page, picture: Image.Image) -> None:
    file = io.BytesIO()
    picture.save(file, "PNG")
    page.locator("input[type=file]").set_input_files(
        {"name": "digit.png", "mimeType": "image/png", "buffer": file.getvalue()}
    )


def drawing(mode: str, paper: str, ink: str, stroke: Stroke) -> Image.Image:
    picture = Image.new(mode, (300, 300), paper)
    ImageDraw.Draw(picture).line([(25 + 250 * x, 25 + 250 * y) for x, y in stroke], ink, width=18)
    return picture


def test_ink_on_nothing_is_ink_on_paper_and_a_photo_of_nothing_an_empty_square(
    trained: Document, open_page: OpenPage
) -> None:
    page = open_page()
    give(page, drawing("RGBA", "#00000000", "#000000ff", ONE[0]))
    expect(page.locator(".verdict strong")).to_have_text("1")
    give(page, Image.new("L", (300, 200), 200))
    expect(page.locator(".verdict")).to_have_text("Draw a digit")
