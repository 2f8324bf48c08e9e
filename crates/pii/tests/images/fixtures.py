"""Draws the images of the tests.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0 onnx==1.23.2
    venv/bin/python crates/pii/tests/images/fixtures.py

The DejaVu fonts of Debian's `fonts-dejavu-core` are needed as well. The results are committed in `fixtures/`. Where each
value was drawn is written to `fixtures/boxes.tsv`: file, value, left, top, right, bottom.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper
from PIL import Image, ImageCms, ImageDraw, ImageFont, PngImagePlugin

HERE = Path(__file__).parent / "fixtures"
FONTS = Path("/usr/share/fonts/truetype/dejavu")

# Invented, or reserved for examples.
VALUES = [
    ("Email: ", "maria.gonzalez@example.com"),
    ("Phone: ", "212-555-0123"),
    ("Card number ", "4111 1111 1111 1111"),
    ("IBAN: ", "DE89 3704 0044 0532 0130 00"),
    ("SSN: ", "536-22-8741"),
]
CLEAN = "The quick brown fox jumps over it"

boxes = []


def font(name, size):
    return ImageFont.truetype(str(FONTS / f"{name}.ttf"), size)


def write(draw, name, at, label, value, fill, face):
    """Draws a label and its value, and notes where the value is."""
    draw.text(at, label + value, fill=fill, font=face)
    left = at[0] + draw.textlength(label, font=face)
    box = draw.textbbox((left, at[1]), value, font=face)
    if name:
        boxes.append((name, value, *(round(side) for side in box)))


def letter(name, face, size, paper=255, ink=20, mode="L"):
    face = font(face, size)
    step = size * 2
    width = 40 + max(round(face.getlength(label + value)) for label, value in VALUES)
    image = Image.new(mode, (width, step * (len(VALUES) + 1)), paper)
    draw = ImageDraw.Draw(image)
    for row, (label, value) in enumerate(VALUES):
        write(draw, name, (20, step // 4 + row * step), label, value, ink, face)
    draw.text((20, step // 4 + len(VALUES) * step), CLEAN, fill=ink, font=face)
    return image


def save(image, name, **options):
    image.save(HERE / name, optimize=True, **options)


def form():
    image = Image.new("L", (480, 160), 255)
    draw = ImageDraw.Draw(image)
    face = font("DejaVuSans", 16)
    rows = [("Password", "hunter2!Xy"), ("Please call", "4111 1111"), ("after lunch", "1111 1111"), ("Ticket", "A-20391")]
    for row, (left, right) in enumerate(rows):
        draw.text((20, 10 + 40 * row), left, fill=20, font=face)
        write(draw, "form.png" if row < 3 else None, (260, 10 + 40 * row), "", right, 20, face)
    save(image, "form.png")


def scan():
    """Text of 20 pixels on a large page: lines that are as long as the page is wide, in its middle and at its edges."""
    image = Image.new("L", (3000, 4000), 255)
    draw = ImageDraw.Draw(image)
    face, large = font("DejaVuSerif", 20), font("DejaVuSans-Bold", 170)
    draw.text((150, 150), "Annual report", fill=0, font=large)
    words = "and the committee went on to look at the harvest of the year before the last one in the county "
    for row in range(0, 24, 6):
        line = (words * 4)[row : row + 260]
        draw.text((150, 900 + 110 * row), line, fill=0, font=face)
    places = [(150, 500), (1400, 600), (2500, 700), (900, 2300 + 40), (1900, 3700)]
    for (label, value), at in zip(VALUES, places):
        draw.rectangle((at[0] - 10, at[1] - 10, at[0] + 620, at[1] + 40), fill=255)
        write(draw, "scan.png", at, label, value, 0, face)
    write(draw, "scan.png", (150, 3800), "", "wilma@example.org", 0, large)
    save(image.quantize(8), "scan.png")


def leaning():
    image = letter(None, "DejaVuSans", 22, paper=(250, 250, 240), ink=(20, 20, 90), mode="RGB")
    save(image.rotate(9, Image.BICUBIC, expand=True, fillcolor=(250, 250, 240)).quantize(32), "leaning.png")


def transparent():
    for name, ink in (("white_on_nothing.png", (255, 255, 255, 255)), ("black_on_nothing.png", (0, 0, 0, 255))):
        save(letter(name, "DejaVuSans", 20, paper=(0, 0, 0, 0), ink=ink, mode="RGBA"), name)
    # Text that only the colours of fully transparent pixels hold.
    image = letter(None, "DejaVuSans", 20, paper=(255, 255, 255, 0), ink=(0, 0, 0, 0), mode="RGBA")
    image.save(HERE / "colors_of_nothing.png")


def described():
    """Everything around pixels that says something, in each format that can hold it."""
    image = letter(None, "DejaVuSans", 16)
    image = image.crop((0, 32 * len(VALUES), image.width, image.height)).convert("RGB")
    exif = Image.Exif()
    exif[0x010E] = "HIDDEN description"
    exif[0x013B] = "HIDDEN artist"
    place = exif.get_ifd(0x8825)
    place.update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0), 28: b"HIDDEN place"})
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><creator>HIDDEN creator</creator></x:xmpmeta>'
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"HIDDEN profile"
    common = {"exif": exif.tobytes(), "icc_profile": profile}
    image.save(HERE / "described.jpg", quality=85, comment=b"HIDDEN comment", xmp=xmp, **common)
    with (HERE / "described.jpg").open("ab") as file:
        file.write(b"HIDDEN trailer")
    image.save(HERE / "described.webp", lossless=True, xmp=xmp, **common)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "HIDDEN comment")
    text.add_text("Author", "HIDDEN author", zip=True)
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    image.quantize(16).save(HERE / "described.png", pnginfo=text, **common)
    image.quantize(16).save(HERE / "described.gif", comment=b"HIDDEN comment")


def moving():
    """The second frame has what the first does not show."""
    second = letter(None, "DejaVuSans", 16).convert("RGB")
    first = Image.new("RGB", second.size, (255, 255, 255))
    ImageDraw.Draw(first).text((20, 8), CLEAN, fill=(20, 20, 20), font=font("DejaVuSans", 16))
    frames = {"save_all": True, "append_images": [second], "duration": 500, "loop": 0}
    first.save(HERE / "moving.gif", **frames)
    first.save(HERE / "moving.png", **frames)
    first.save(HERE / "moving.webp", lossless=True, **frames)


def fixed(name, outputs):
    """A network that only takes images as wide as the one that it is tried on: 64 pixels."""
    once = helper.make_tensor("once", TensorProto.FLOAT, [1, 1, 1, 64], [0.0] * 64)
    nodes = [
        helper.make_node("Add", ["image", "once"], ["sum"]),
        helper.make_node("ReduceMean", ["sum"], ["mean"], axes=[1], keepdims=1),
    ]
    if outputs == 1:
        names = ["mean"]
    else:
        nodes.append(helper.make_node("AveragePool", ["mean"], ["map"], kernel_shape=[4, 4], strides=[4, 4]))
        nodes.append(helper.make_node("Concat", ["map", "map"], ["sizes"], axis=1))
        nodes.append(helper.make_node("Concat", ["map", "map"], ["offsets"], axis=1))
        names = ["map", "sizes", "offsets"]
    shape = [1, None, None, None]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, None, None])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output in names],
        [once],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (HERE / name).write_bytes(model.SerializeToString())


def main():
    save(letter("letter.png", "DejaVuSans", 18), "letter.png")
    save(letter("serif_small.png", "DejaVuSerif", 12), "serif_small.png")
    save(letter("mono_dark.png", "DejaVuSansMono-Bold", 16, paper=30, ink=240), "mono_dark.png")
    save(letter("large.png", "DejaVuSans", 110), "large.png")
    form()
    scan()
    leaning()
    transparent()
    described()
    moving()
    fixed("fixed_lines.onnx", 1)
    fixed("fixed_faces.onnx", 3)
    (HERE / "boxes.tsv").write_text("".join("\t".join(map(str, box)) + "\n" for box in boxes))


main()
