//! Small files that ask for much. Each ends in an error, or in a result of ordinary size.

use farebox_pii::pdf::PdfLimits;

use super::written::{HELVETICA, Page, file, packed, stream};
use super::*;

const COMPLEX: Option<PdfError> = Some(PdfError::TooComplex);

fn error(bytes: &[u8]) -> Option<PdfError> {
    redact(bytes, &small()).err()
}

fn small() -> PdfOptions {
    PdfOptions { dpi: 36, ..PdfOptions::default() }
}

fn limited(limits: PdfLimits) -> PdfOptions {
    PdfOptions { limits, ..small() }
}

/// Pages of one tree, all of them the same object or each its own.
fn pages(count: usize, same: bool) -> Vec<u8> {
    let kids: Vec<_> = (0..count).map(|page| format!("{} 0 R", if same { 3 } else { 3 + page })).collect();
    let kids = kids.join(" ");
    let page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] >>".to_vec();
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {count} >>").into_bytes(),
    ];
    objects.resize(2 + if same { 1 } else { count }, page);
    file(&objects, "")
}

#[test]
fn the_helper_writes_readable_files() {
    let page = Page { content: b"BT /F 12 Tf 20 200 Td (jane.doe@example.com) Tj ET", ..Page::default() };
    let redacted = redact(&page.file(), &small()).expect("a PDF");
    assert_eq!(found(&redacted), [(1, Entity::EmailAddress)]);
}

#[test]
fn streams_unpack_to_no_more_than_they_may() {
    let within = |unpacked| limited(PdfLimits { unpacked, ..PdfLimits::default() });
    let megabyte = Page { content: &vec![b' '; 1 << 20], ..Page::default() }.file();
    assert_eq!(redact(&megabyte, &within(1 << 20)).err(), None);
    assert_eq!(redact(&megabyte, &within((1 << 20) - 1)).err(), COMPLEX);
    // A gigabyte in a few kilobytes: packed twice.
    let gigabyte = packed(&packed(&vec![b' '; 1 << 30]));
    assert!(gigabyte.len() < 10_000, "{}", gigabyte.len());
    let content = |dict: &str, data: &[u8]| Page {
        more: "/Contents 5 0 R",
        others: vec![stream(dict, data)],
        ..Page::default()
    };
    assert_eq!(error(&content("/Filter [/FlateDecode /FlateDecode]", &gigabyte).file()), COMPLEX);
    assert_eq!(error(&content("/Filter [/Fl /Fl]", &gigabyte).file()), COMPLEX);
    let many = format!("/Filter [{}]", "/AHx ".repeat(9));
    assert_eq!(error(&content(&many, b"00>").file()), COMPLEX);
}

/// A page may name its content again and again; each time counts.
#[test]
fn content_that_is_named_again_and_again_counts_each_time() {
    let megabyte = stream("/Filter /FlateDecode", &packed(&vec![b' '; 1 << 20]));
    let contents = format!("/Contents [{}]", "5 0 R ".repeat(10_000));
    let page = Page { more: &contents, others: vec![megabyte], ..Page::default() };
    assert_eq!(error(&page.file()), COMPLEX);
}

#[test]
fn packed_objects_are_counted() {
    let inner = [b"1000 0 [".to_vec(), b"0 ".repeat(1_000_000), b"]".to_vec()].concat();
    let objects = stream("/Type /ObjStm /N 1 /First 7 /Filter /FlateDecode", &packed(&inner));
    let page = Page { others: vec![objects; 50], ..Page::default() };
    assert!(page.file().len() < 300_000);
    assert_eq!(error(&page.file()), COMPLEX);
    let blank = stream("/Type /ObjStm /N 1 /First 7 /Filter /FlateDecode", &packed(&vec![b' '; 64 << 20]));
    assert_eq!(error(&Page { others: vec![blank], ..Page::default() }.file()), COMPLEX);
    let list = [b"[".to_vec(), b"0 ".repeat(2_100_000), b"]".to_vec()].concat();
    assert_eq!(error(&Page { others: vec![list], ..Page::default() }.file()), COMPLEX);
}

#[test]
fn trees_of_pages_may_be_large_but_not_endless() {
    let too_many = Some(PdfError::TooManyPages { limit: 200 });
    assert_eq!(error(&pages(10_000, false)), too_many);
    let two = PdfOptions { pages: Some("9999-10000".parse().expect("ranges")), ..small() };
    assert_eq!(redact(&pages(10_000, false), &two).map(|redacted| redacted.pages), Ok(2));
    // One page, named again and again.
    let answer = redact(&pages(100_000, true), &small()).map(|redacted| redacted.pages);
    assert!(
        matches!(answer, Ok(1..=200) | Err(PdfError::TooManyPages { .. } | PdfError::TooComplex)),
        "{answer:?}"
    );
    // A tree that is its own branch, and one that goes down and down.
    let catalogue = || b"<< /Type /Catalog /Pages 2 0 R >>".to_vec();
    let itself = b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1000000 /Parent 2 0 R >>".to_vec();
    assert_eq!(error(&file(&[catalogue(), itself], "")), Some(PdfError::Damaged));
    let down = (3..20_000).map(|kid| format!("<< /Type /Pages /Kids [{kid} 0 R] /Count 1 >>").into_bytes());
    let down: Vec<_> = [catalogue()].into_iter().chain(down).collect();
    assert_eq!(error(&file(&down, "")), Some(PdfError::Damaged));
    // Where a page inherits from itself.
    let page = b"<< /Type /Page /Parent 3 0 R >>".to_vec();
    let tree = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec();
    assert_eq!(error(&file(&[catalogue(), tree, page], "")), None);
}

/// Pages of any size are drawn with as many pixels as allowed.
#[test]
fn pages_of_any_size_have_bounded_pictures() {
    let content = b"BT /F 12 Tf 20 200 Td (4111 1111 1111 1111) Tj ET";
    for size in [
        "0 0 100000 100000",
        "0 0 1000000000 10",
        "-1e30 -1e30 1e30 1e30",
        "0 0 0 0",
        "10 10 5 5",
        "0 0 1e-9 1e-9",
        "0 0 300 300 9",
    ] {
        let more = format!("/MediaBox [{size}] /UserUnit 1000");
        let limits = PdfLimits { page_pixels: 1 << 20, ..PdfLimits::default() };
        match redact(&Page { content, more: &more, ..Page::default() }.file(), &limited(limits)) {
            Ok(redacted) => {
                let pixels = search::pixels(&redacted.bytes);
                assert!(pixels.iter().all(|pixels| *pixels <= (1 << 20) + 20_000), "{size}: {pixels:?}");
                search::assert_gone(size, &redacted.bytes, &[CARD]);
            }
            Err(error) => assert_eq!(error, PdfError::Damaged, "{size}"),
        }
    }
}

#[test]
fn images_that_claim_to_be_huge_are_refused() {
    let draws = |image: Vec<u8>, content: &[u8]| {
        let resources = "/XObject << /I 5 0 R >>";
        redact_with_ocr(&Page { content, resources, others: vec![image], ..Page::default() }.file()).err()
    };
    let once = b"q 100 0 0 100 0 0 cm /I Do Q\n";
    let grey = |sides: &str, more: &str, data: &[u8]| {
        stream(&format!("/Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 8 {sides} {more}"), data)
    };
    assert_eq!(draws(grey("/Width 100000 /Height 100000", "", b""), once), COMPLEX);
    assert_eq!(draws(grey("/Width 9000000000000000000 /Height 4", "", b""), once), COMPLEX);
    let fax = "/Filter /CCITTFaxDecode /DecodeParms << /Columns 1000000 /Rows 1000000 >>";
    assert_eq!(draws(grey("/Width 8 /Height 8", fax, b"x"), once), COMPLEX);
    // The header within says more than the dictionary.
    let jpeg = b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0";
    assert_eq!(draws(grey("/Width 8 /Height 8", "/Filter /DCTDecode", jpeg), once), COMPLEX);
    // One that fits, shown a hundred times.
    let large = grey("/Width 4000 /Height 4000", "/Filter /FlateDecode", &packed(&vec![0; 16_000_000]));
    assert_eq!(draws(large, &once.repeat(100)), COMPLEX);
    // Its mask is itself.
    let masked = grey("/Width 8 /Height 8", "/SMask 5 0 R /Mask 5 0 R", &[0; 64]);
    assert_eq!(draws(masked, once), None);
    // Within the operators of the page.
    let inline =
        [b"BI /W 9 /H 9 /CS /G /BPC 8 /F [/Fl /Fl] ID ", &packed(&packed(&vec![0; 1 << 20]))[..], b" EI"]
            .concat();
    assert_eq!(draws(grey("/Width 1 /Height 1", "", b"x"), &inline), COMPLEX);
}

#[test]
fn operators_are_counted_wherever_they_are() {
    let page = |content: &[u8]| error(&Page { content, ..Page::default() }.file());
    assert_eq!(page(&b"0 0 m ".repeat(2_000_100)), COMPLEX);
    assert_eq!(page(&[b"BT /F 1 Tf ".to_vec(), b"(0123456789) Tj ".repeat(200_000)].concat()), COMPLEX);
    let resources = format!(
        "{HELVETICA} /XObject << /X 5 0 R >> /Pattern << /P 5 0 R >> /ExtGState << /G << /SMask << /S /Alpha /G 5 0 R >> >> >>"
    );
    let draws = |content: &[u8], dict: &str, inner: &[u8]| {
        let others = vec![stream(&format!("{dict} /BBox [0 0 9 9] /Resources << {resources} >>"), inner)];
        error(&Page { content, resources: &resources, others, ..Page::default() }.file())
    };
    // What refers to itself is drawn once: the reader of files does not follow it. A form, a pattern, a mask.
    let once = |answer: Option<PdfError>| matches!(answer, None | Some(PdfError::NeedsOcr { page: 1 }));
    assert!(once(draws(b"/X Do ", "/Subtype /Form", b"/X Do /X Do ")));
    let tiles = "/PatternType 1 /PaintType 1 /TilingType 1 /XStep 1 /YStep 1";
    assert!(once(draws(b"/Pattern cs /P scn 0 0 9 9 re f", tiles, b"/Pattern cs /P scn 0 0 9 9 re f")));
    assert!(once(draws(b"/G gs 0 0 9 9 re f", "/Subtype /Form", b"/G gs 0 0 9 9 re f")));
    // Each form draws the next one twice.
    let doubling = (0..30).map(|level| {
        let next =
            format!("/Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X {} 0 R >> >>", level + 6);
        stream(&next, b"/X Do /X Do ")
    });
    let page = Page {
        content: b"/X Do ",
        resources: "/XObject << /X 5 0 R >>",
        others: doubling.collect(),
        ..Page::default()
    };
    assert_eq!(error(&page.file()), COMPLEX);
    // A long form, often.
    assert_eq!(draws(&b"/X Do ".repeat(20_000), "/Subtype /Form", &b"0 0 m ".repeat(2_000)), COMPLEX);
}

#[test]
fn glyphs_that_are_drawn_by_operators_count_as_often_as_they_are_shown() {
    let font = "/Font << /F << /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0] \
        /FirstChar 65 /LastChar 65 /Widths [9] /Encoding << /Differences [65 /A] >> /CharProcs << /A 5 0 R >> >> >>";
    let glyph = stream("", &[b"9 0 d0 ".to_vec(), b"0 0 m ".repeat(5_000)].concat());
    let content = [b"BT /F 1 Tf (".to_vec(), b"A".repeat(1_000), b") Tj ET".to_vec()].concat();
    let page = Page { content: &content, resources: font, others: vec![glyph], ..Page::default() };
    assert_eq!(error(&page.file()), COMPLEX);
    // One that shows itself is drawn once.
    let own = "/Font << /F 5 0 R >>";
    let font = b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0] /FirstChar 65 \
        /LastChar 65 /Widths [9] /Encoding << /Differences [65 /A] >> /CharProcs << /A 6 0 R >> /Resources << /Font << /F 5 0 R >> >> >>";
    let glyph = stream("", b"9 0 d0 BT /F 1 Tf (AA) Tj ET");
    let others = vec![font.to_vec(), glyph];
    let page = Page { content: b"BT /F 1 Tf (A) Tj ET", resources: own, others, ..Page::default() };
    assert_eq!(error(&page.file()), None);
}

#[test]
fn references_and_depths_end() {
    for (open, close) in [("[", "]"), ("<< /A ", ">>"), ("(", ")"), ("<", ">")] {
        let deep = format!("{}{}", open.repeat(50_000), close.repeat(50_000));
        let page =
            Page { content: deep.as_bytes(), others: vec![deep.clone().into_bytes()], ..Page::default() };
        assert!(
            matches!(error(&page.file()), None | Some(PdfError::Damaged | PdfError::TooComplex)),
            "{open}"
        );
    }
    assert!(matches!(
        error(&Page { content: &b"q ".repeat(1_000_000), ..Page::default() }.file()),
        None | Some(PdfError::TooComplex)
    ));
    // An object that is itself, a length that is its own stream, colours of themselves.
    for (resources, other) in [
        ("/Font 5 0 R /XObject 5 0 R", b"5 0 R".to_vec()),
        ("/XObject << /X 5 0 R >>", b"<< /Subtype /Form /Length 5 0 R >>\nstream\nx\nendstream".to_vec()),
        ("/ColorSpace << /C 5 0 R >>", b"[/Indexed 5 0 R 255 (x)]".to_vec()),
        ("/ColorSpace << /C 5 0 R >>", b"[/Separation /A 5 0 R 5 0 R]".to_vec()),
        (
            "/Shading << /S 5 0 R >>",
            b"<< /ShadingType 2 /ColorSpace /DeviceGray /Coords [0 0 1 1] /Function 6 0 R >>".to_vec(),
        ),
    ] {
        let function =
            b"<< /FunctionType 3 /Domain [0 1] /Functions [6 0 R] /Bounds [] /Encode [0 1] >>".to_vec();
        let content = b"/C cs 0.5 sc /X Do /S sh BT /F 1 Tf (a) Tj ET 0 0 9 9 re f";
        let page = Page { content, resources, others: vec![other, function], ..Page::default() };
        assert!(
            matches!(error(&page.file()), None | Some(PdfError::Damaged | PdfError::TooComplex)),
            "{resources}"
        );
    }
}

#[test]
fn tables_that_lead_in_circles_end() {
    let whole = Page::default().file();
    let text = String::from_utf8_lossy(&whole).into_owned();
    let start = text.rfind("xref\n0").expect("a table");
    for previous in [start, 0, 5, usize::MAX] {
        let looped = [b"%PDF-1.7\n".to_vec(), whole[9..].to_vec()].concat();
        let looped =
            String::from_utf8_lossy(&looped).replace("/Root 1 0 R", &format!("/Root 1 0 R /Prev {previous}"));
        let answer = error(looped.as_bytes());
        assert!(
            matches!(answer, None | Some(PdfError::Damaged | PdfError::TooComplex)),
            "{previous}: {answer:?}"
        );
    }
    // A table for each time that a file was added to.
    let mut often = whole.clone();
    for _ in 0..40 {
        let again = format!(
            "xref\n0 0\ntrailer\n<< /Size 5 /Root 1 0 R /Prev {start} >>\nstartxref\n{}\n%%EOF\n",
            often.len()
        );
        often.extend_from_slice(again.as_bytes());
    }
    assert_eq!(error(&often), COMPLEX);
}

#[test]
fn maps_of_characters_cost_what_they_are_long() {
    let font = |widths: &str| {
        format!(
            "/Font << /F << /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /ToUnicode 5 0 R \
        /DescendantFonts [<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X {widths} >>] >> >>"
        )
    };
    let map = b"1 begincodespacerange <00000000> <FFFFFFFF> endcodespacerange \
        1 beginbfrange <00000000> <FFFFFFFF> <0041> endbfrange";
    let content = b"BT /F 10 Tf 20 200 Td <00010002> Tj ET";
    let shows = |font: &str| {
        error(&Page { content, resources: font, others: vec![stream("", map)], ..Page::default() }.file())
    };
    // Two glyphs that mean A and B.
    assert_eq!(shows(&font("/W [0 [500] 1 9 500]")), None);
    // Ranges of widths, and codes that begin far away.
    for widths in ["/W [0 2000000000 500]", "/W [1 [5] 0 4294967295 500]", "/W2 [0 4294967295 5 5 5]"] {
        assert_eq!(shows(&font(widths)), COMPLEX, "{widths}");
    }
    let often = format!("/W [{}]", "0 65535 500 ".repeat(1_000));
    assert_eq!(shows(&font(&often)), COMPLEX);
    let far = HELVETICA
        .replace("/Encoding", "/FirstChar 2000000000000 /LastChar 2000000000000 /Widths [9] /Encoding");
    assert_eq!(shows(&far), COMPLEX);
}

#[test]
fn the_result_is_bounded() {
    let page = Page { content: b"BT /F 12 Tf 20 200 Td (Hello) Tj ET", ..Page::default() }.file();
    let length = redact(&page, &small()).expect("a PDF").bytes.len();
    let limits = PdfLimits { output: 10, ..PdfLimits::default() };
    assert!(length > 10);
    assert_eq!(redact(&page, &limited(limits)).err(), COMPLEX);
    let limits = PdfLimits { bytes: page.len() - 1, ..PdfLimits::default() };
    assert_eq!(redact(&page, &limited(limits)).err(), Some(PdfError::TooLarge { limit: page.len() - 1 }));
}

#[test]
fn what_is_cut_off_or_unknown_ends_in_an_error() {
    for name in ["plain", "packed", "encrypted_packed", "form"] {
        let whole = super::file(&format!("{name}.pdf"));
        for part in [20, whole.len() / 4, whole.len() / 2] {
            let error = error(&whole[..part]);
            assert!(
                matches!(error, Some(PdfError::Damaged | PdfError::Encrypted)),
                "{name}: {part}: {error:?}"
            );
        }
    }
    for encryption in ["<< /Filter /Standard /V 9 >>", "<< /Filter /Other /V 1 >>", "<< >>"] {
        let objects = [b"<< /Type /Catalog >>".to_vec(), encryption.as_bytes().to_vec()];
        let id = "/Encrypt 2 0 R /ID [(a) (b)]";
        let error = error(&file(&objects, id));
        assert!(matches!(error, Some(PdfError::Encrypted | PdfError::Damaged)), "{encryption}: {error:?}");
    }
}
