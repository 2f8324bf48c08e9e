//! Text of files written by hand, and limits on hostile ones.

use std::time::Duration;

use self::syntax::{file, packed, stream};
use super::*;

#[path = "../../../crates/pii/tests/pdf/syntax.rs"]
mod syntax;

fn limits() -> PdfTextLimits {
    PdfTextLimits { pages: 3, text_bytes: 10_000, deadline: Instant::now() + Duration::from_secs(20) }
}

/// File of one page with this content and these fonts, and more objects.
fn page(content: &[u8], fonts: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [3 0 R] /Count 1 /Resources << {fonts} >> >>").into_bytes(),
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>".to_vec(),
        stream("/Filter /FlateDecode", &packed(content)),
    ];
    objects.extend_from_slice(more);
    file(&objects, "")
}

const HELVETICA: &str =
    "/Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >> >>";

#[track_caller]
fn reads(data: &[u8], expected: &str) {
    assert_eq!(text(data, limits()).as_deref(), Ok(expected));
}

#[test]
fn lines_and_words_are_where_they_stand() {
    for (content, expected) in [
        ("BT /F1 12 Tf 72 700 Td (Hello world) Tj 0 -14 Td (Second line) Tj ET", "Hello world\nSecond line"),
        ("BT /F1 12 Tf 14 TL 72 700 Td (a) Tj T* (b) Tj (c) ' 0 0 (d) \" ET", "a\nb\nc\nd"),
        ("BT /F1 10 Tf [(Hel) 20 (lo) -300 (world)] TJ ET", "Hello world"),
        ("BT /F1 10 Tf (wo) Tj ET BT /F1 10 Tf 1 0 0 1 10 0 Tm (rd) Tj ET", "word"),
        ("q 2 0 0 2 0 0 cm BT /F1 10 Tf (a) Tj ET Q BT /F1 10 Tf 0 -30 Td (b) Tj ET", "a\nb"),
        ("BT /F1 10 Tf (gr\\374n \\(x\\)) Tj <41> Tj ET", "gr\u{fc}n (x)A"),
        ("BT (no font) Tj /F9 1 Tf (unknown font) Tj ET", ""),
        ("Q Q Q ET 1 Tm () Tj [ (", ""),
    ] {
        reads(&page(content.as_bytes(), HELVETICA, &[]), expected);
    }
}

#[test]
fn composite_fonts_are_read_by_their_map() {
    let fonts = "/Font << /F1 << /Type /Font /Subtype /Type0 /Encoding /Identity-H \
        /DescendantFonts [<< /DW 1000 /W [1 [600 600] 3 9 250] >>] /ToUnicode 5 0 R >> >>";
    let map = stream("", b"2 beginbfchar <0001> <0041> <0002> <00480069> endbfchar 1 beginbfrange <0003> <0009> <0061> endbfrange");
    reads(&page(b"BT /F1 10 Tf <000100020004> Tj ET", fonts, &[map]), "AHib");
}

#[test]
fn forms_are_pages_within_pages() {
    let resources = format!("{HELVETICA} /XObject << /X 5 0 R >>");
    let form =
        stream("/Type /XObject /Subtype /Form /Matrix [1 0 0 1 0 -50]", b"BT /F1 10 Tf (inside) Tj ET /X Do");
    let content = b"BT /F1 10 Tf (before) Tj ET /X Do";
    // It shows itself, as often as forms may be within forms.
    reads(&page(content, &resources, &[form]), "before\ninside\ninside\ninside\ninside");
}

#[test]
fn attack_25_what_is_no_readable_pdf_is_told_apart() {
    let good = page(b"BT /F1 12 Tf (Hello) Tj ET", HELVETICA, &[]);
    assert_eq!(text(b"", limits()), Err(FetchError::NotPdf));
    assert_eq!(text(b"<html>%PDF</html>", limits()), Err(FetchError::NotPdf));
    assert_eq!(text(b"%PDF-1.7\nnothing", limits()), Err(FetchError::DamagedPdf));
    assert_eq!(text(&good[..good.len() / 3], limits()), Err(FetchError::DamagedPdf));
    let encrypted = [b"<< /Type /Catalog >>".to_vec(), b"<< /Filter /Standard /V 1 >>".to_vec()];
    for name in ["/Encrypt 2 0 R", "/#45ncrypt 2 0 R"] {
        assert_eq!(text(&file(&encrypted, name), limits()), Err(FetchError::EncryptedPdf));
    }
    // Any truncation and any flipped byte is survived.
    for at in (0..good.len()).step_by(7) {
        let mut broken = good.clone();
        broken[at] ^= 0x15;
        drop(text(&broken, limits()));
        drop(text(&good[..at], limits()));
    }
}

#[test]
fn attack_25_a_pdf_takes_no_more_than_it_may() {
    // A stream that is unpacked to 64 MiB.
    let bomb = page(&vec![b' '; 64 << 20], HELVETICA, &[]);
    assert!(bomb.len() < 100_000);
    assert_eq!(text(&bomb, limits()), Err(FetchError::CostlyPdf));
    // Objects that take a hundred times their length.
    let many = [b"[".to_vec(), b"0 ".repeat(2_100_000), b"]".to_vec()].concat();
    let many = page(b"", HELVETICA, &[many]);
    assert_eq!(text(&many, limits()), Err(FetchError::CostlyPdf));
    // The same, packed, again and again.
    let inner = [b"1000 0 [".to_vec(), b"0 ".repeat(1_000_000), b"]".to_vec()].concat();
    let packed = stream("/Type /ObjStm /N 1 /First 7 /Filter /FlateDecode", &packed(&inner));
    let packed = page(b"", HELVETICA, &vec![packed; 50]);
    assert!(packed.len() < 300_000);
    assert_eq!(text(&packed, limits()), Err(FetchError::CostlyPdf));
    // A font whose map counts to four billion.
    let fonts = "/Font << /F1 << /Type /Font /Subtype /Type0 /Encoding /Identity-H /ToUnicode 5 0 R >> >>";
    let wide = stream("", b"1 beginbfrange <00000000> <FFFFFFFF> <0041> endbfrange");
    reads(&page(b"BT /F1 10 Tf <0001> Tj ET", fonts, &[wide]), "");
    // Text without end.
    let long = b"(0123456789) Tj ".repeat(2_000);
    let long = [b"BT /F1 10 Tf ".to_vec(), long].concat();
    assert_eq!(text(&page(&long, HELVETICA, &[]), limits()), Err(FetchError::TooLong(10_000)));
    // Time that has run out.
    let late = PdfTextLimits { deadline: Instant::now(), ..limits() };
    assert_eq!(text(&page(b"", HELVETICA, &[]), late), Err(FetchError::CostlyPdf));
}

#[test]
fn attack_25_loops_and_depths_end() {
    let kids = |kids: &str| {
        let pages = format!("<< /Type /Pages /Kids [{kids}] /Count 1000000 /Parent 2 0 R >>");
        file(&[b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(), pages.into_bytes()], "")
    };
    assert_eq!(text(&kids("2 0 R"), limits()), Err(FetchError::DamagedPdf));
    let leaf = || b"<< /Type /Page /Parent 2 0 R >>".to_vec();
    let pages = b"<< /Type /Pages /Kids [3 0 R 4 0 R 5 0 R 6 0 R] /Count 4 >>".to_vec();
    let catalogue = b"<< /Type /Catalog /Pages 2 0 R >>".to_vec();
    let many = file(&[catalogue, pages, leaf(), leaf(), leaf(), leaf()], "");
    assert_eq!(text(&many, limits()), Err(FetchError::Pages(3)));
    for (open, close) in [("[", "]"), ("<< /A ", ">>"), ("(", ")")] {
        let deep = format!("{}{}", open.repeat(50_000), close.repeat(50_000));
        drop(text(&page(deep.as_bytes(), HELVETICA, &[deep.clone().into_bytes()]), limits()));
    }
    let itself = page(b"BT /F1 1 Tf (x) Tj ET", "/Font 5 0 R", &[b"5 0 R".to_vec()]);
    assert_eq!(text(&itself, limits()).as_deref(), Ok(""));
}
