"""Writes the PDFs of the tests, with programs other than the one under test.

    python3 -m venv venv && venv/bin/pip install reportlab==5.1.0 fpdf2==2.8.9 pypdf==7.1.1 pillow==13.0.0 cryptography
    venv/bin/python crates/pii/tests/pdf/fixtures.py

`qpdf` is needed as well. The results are committed in `files/`.
"""

import datetime
import io
import os
import subprocess
from pathlib import Path

import fpdf
import reportlab
from PIL import Image, ImageDraw, ImageFont
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject
from reportlab.lib.pagesizes import A5
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen import canvas

HERE = Path(__file__).parent / "files"
VERA = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"

EMAIL = "jane.doe@example.com"
IBAN = "DE89 3704 0044 0532 0130 00"
CARD = "4111 1111 1111 1111"
SSN = "536-22-8726"


def page(name, draw, size=A5, **options):
    path = HERE / f"{name}.pdf"
    c = canvas.Canvas(str(path), pagesize=size, invariant=1, **options)
    draw(c)
    c.save()
    return path


def letter(c, y=500):
    c.setFont("Helvetica", 11)
    c.drawString(40, y, "Dear reader, this page is about nothing much.")
    c.drawString(40, y - 20, f"Write to {EMAIL} or pay to IBAN {IBAN}.")
    c.drawString(40, y - 40, f"Card number {CARD}, social security number {SSN}.")
    c.drawString(40, y - 60, "The words after it stay as they are.")


def plain(c):
    letter(c)
    c.showPage()
    c.setFont("Times-Roman", 12)
    c.drawString(40, 500, "The second page has nothing to hide.")
    c.showPage()
    c.setFont("Courier", 10)
    c.drawString(40, 500, f"The third has a card: {CARD}")


def clean(c):
    c.setFont("Helvetica", 11)
    c.drawString(40, 500, "Nothing on this page is about a person.")


def subset(c):
    pdfmetrics.registerFont(TTFont("Vera", str(VERA)))
    c.setFont("Vera", 11)
    c.drawString(40, 500, f"Écrivez à {EMAIL}.")
    c.drawString(40, 480, f"IBAN {IBAN}")


def split(c):
    """Every letter is placed on its own, some are drawn out of order and one line twice."""
    c.setFont("Helvetica", 11)
    x = 40
    letters = []
    for letter_ in f"Mail: {EMAIL}":
        letters.append((x, 500, letter_))
        x += c.stringWidth(letter_, "Helvetica", 11)
    for x, y, letter_ in letters[::2] + letters[1::2]:
        c.drawString(x, y, letter_)
    text = c.beginText(40, 470)
    text.setCharSpace(3)
    text.textOut(f"Card {CARD}")
    c.drawText(text)
    for shift in (0, 0.3):
        c.drawString(40 + shift, 440, f"IBAN {IBAN}")


def turned(c):
    letter(c)
    c.saveState()
    c.translate(300, 60)
    c.rotate(90)
    c.drawString(0, 0, f"Upwards: {EMAIL}")
    c.restoreState()
    c.saveState()
    c.translate(60, 60)
    c.rotate(35)
    c.drawString(0, 0, f"Slanted: {CARD}")
    c.restoreState()


def columns(c):
    c.setFont("Helvetica", 10)
    left = ["The left column tells a", "story. Its hero can be", f"reached at {EMAIL}", "and lives by the sea."]
    right = ["The right one is about", f"card {CARD}", "which was lost on the", "way home last summer."]
    # Line by line, as a table is drawn.
    for at, (one, other) in enumerate(zip(left, right)):
        c.drawString(40, 500 - 14 * at, one)
        c.drawString(230, 500 - 14 * at, other)


def across(c):
    c.setFont("Helvetica", 11)
    c.drawString(40, 500, "The account to pay to has the IBAN DE89 3704")
    c.drawString(40, 485, "0044 0532 0130 00 and the card is 4111 1111")
    c.drawString(40, 470, "1111 1111 as before.")


def form(c):
    c.beginForm("letterhead")
    c.setFont("Helvetica", 11)
    c.drawString(40, 500, f"From the office of {EMAIL}")
    c.endForm()
    c.doForm("letterhead")
    c.showPage()
    c.doForm("letterhead")


def annotated(c):
    clean(c)
    c.textAnnotation(f"Ask {EMAIL} about this", Rect=(40, 400, 60, 420), relative=0)
    c.freeTextAnnotation(f"Card {CARD}", DA="0 g /Helv 12 Tf", Rect=(40, 300, 300, 330), relative=0)
    c.linkURL(f"mailto:{EMAIL}", (40, 490, 200, 510))
    c.acroForm.textfield(name="card", value=CARD, x=40, y=200, width=200, height=20, tooltip=EMAIL)


def described(c):
    clean(c)
    c.setTitle(f"Letter to {EMAIL}")
    c.setAuthor(f"{EMAIL}")
    c.setSubject(f"IBAN {IBAN}")
    c.bookmarkPage("here")
    c.addOutlineEntry(f"Card {CARD}", "here")


def hidden(c):
    clean(c)
    text = c.beginText(40, 460)
    text.setTextRenderMode(3)
    text.textOut(f"Invisible {EMAIL}")
    c.drawText(text)
    c.setFillColorRGB(1, 1, 1)
    text = c.beginText(40, 440)
    text.setTextRenderMode(0)
    text.textOut(f"White card {CARD}")
    c.drawText(text)
    c.setFillColorRGB(0, 0, 0)
    c.drawString(40, 420, f"Under a box: {SSN}")
    c.rect(38, 415, 250, 16, fill=1)
    # Outside the page, and outside a clip.
    c.drawString(40, -50, f"Below the page: {IBAN}")


def picture(lines, width=1000, height=700, size=32):
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(str(VERA), size)
    for at, line in enumerate(lines):
        draw.text((40, 40 + 2 * size * at), line, fill="black", font=font)
    return ImageReader(image)


def scanned(c):
    lines = ["A page that was scanned.", f"Write to {EMAIL}", f"Card number {CARD}", "and nothing else."]
    c.drawImage(picture(lines), 20, 200, width=380, height=266)


def mixed(c):
    letter(c)
    c.drawImage(picture([f"Stamp: {CARD}"], 800, 120, 36), 40, 300, width=320, height=48)


def fpdf2_page():
    pdf = fpdf.FPDF(format="A5")
    pdf.set_creation_date(datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc))
    pdf.add_font("Vera", fname=str(VERA))
    pdf.add_page()
    pdf.set_font("Vera", size=11)
    pdf.multi_cell(0, 6, f"Der Brief kam von {EMAIL} und nannte die Karte {CARD}. Mehr stand nicht darin.")
    with pdf.table(first_row_as_headings=False) as table:
        for row in (("Name", "IBAN"), ("Somebody", IBAN), ("Other", "none")):
            cells = table.row()
            for cell in row:
                cells.cell(cell)
    pdf.output(str(HERE / "fpdf2.pdf"))


def attached():
    reader = PdfReader(HERE / "clean.pdf")
    writer = PdfWriter(clone_from=reader)
    writer.add_attachment("people.csv", f"{EMAIL};{CARD}\n".encode())
    script = DictionaryObject({
        NameObject("/S"): NameObject("/JavaScript"),
        NameObject("/JS"): TextStringObject(f"app.alert('{EMAIL}');"),
    })
    writer.root_object[NameObject("/OpenAction")] = writer._add_object(script)
    writer.add_metadata({"/Keywords": EMAIL})
    writer.write(HERE / "attached.pdf")


def cropped():
    writer = PdfWriter(clone_from=PdfReader(HERE / "turned.pdf"))
    page_ = writer.pages[0]
    page_.cropbox.lower_left = (20, 50)
    page_.cropbox.upper_right = (400, 560)
    page_.rotate(90)
    writer.write(HERE / "cropped.pdf")


def revised():
    """The first revision has what the second removed."""
    old = (HERE / "plain.pdf").read_bytes()
    writer = PdfWriter(io.BytesIO(old), incremental=True)
    new = PdfReader(HERE / "clean.pdf").pages[0]
    page_ = writer.pages[0]
    page_[NameObject("/Contents")] = writer._add_object(new["/Contents"].get_object().clone(writer))
    writer.write(HERE / "revised.pdf")


def qpdf(source, target, *arguments):
    subprocess.run(["qpdf", "--deterministic-id" if "--encrypt" not in arguments else "--warning-exit-0",
                    *arguments, str(HERE / source), str(HERE / target)], check=True)


def main():
    HERE.mkdir(exist_ok=True)
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    for draw in (plain, clean, subset, split, turned, columns, across, form, annotated, described, hidden, scanned, mixed):
        page(draw.__name__, draw)
    fpdf2_page()
    attached()
    cropped()
    revised()
    qpdf("plain.pdf", "packed.pdf", "--object-streams=generate", "--recompress-flate")
    qpdf("plain.pdf", "encrypted.pdf", "--encrypt", "", "owner", "256", "--")
    qpdf("plain.pdf", "encrypted_rc4.pdf", "--allow-weak-crypto", "--encrypt", "", "owner", "128", "--")
    qpdf("packed.pdf", "encrypted_packed.pdf", "--object-streams=generate", "--encrypt", "", "owner", "256", "--")
    qpdf("plain.pdf", "locked.pdf", "--encrypt", "secret", "owner", "256", "--")


main()
