//! Searches a PDF for a text in every way in which it could still be there.

use std::io::Write;
use std::process::{Command, Stdio};

use lopdf::{Dictionary, Document, Object};

/// Panics when one of the texts can be found.
pub fn assert_gone(name: &str, bytes: &[u8], secrets: &[&str]) {
    let document = Document::load_mem(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut everything = vec![bytes.to_vec(), pdftotext(bytes)];
    for object in document.objects.values().chain([&Object::Dictionary(document.trailer.clone())]) {
        collect(object, &mut everything);
    }
    for secret in secrets {
        for needle in needles(secret) {
            for hay in &everything {
                let hay: Vec<u8> = hay.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect();
                let there = hay.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(&needle));
                assert!(!there, "{name}: {secret} as {}", String::from_utf8_lossy(&needle));
            }
        }
    }
    assert_pictures_only(name, &document);
}

/// The ways in which a text may be written, without white space.
fn needles(secret: &str) -> Vec<Vec<u8>> {
    let dense: String = secret.chars().filter(|c| !c.is_whitespace()).collect();
    let wide: Vec<u8> = dense.bytes().flat_map(|byte| [0, byte]).collect();
    let hex =
        |bytes: &[u8]| bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect::<Vec<u8>>();
    // As an array of single letters, and a long enough part of it.
    let kerned = dense.bytes().flat_map(|byte| [b'(', byte, b')']).collect();
    let part = dense.as_bytes()[..dense.len() * 2 / 3].to_vec();
    vec![hex(dense.as_bytes()), hex(&wide), dense.into_bytes(), wide, kerned, part]
}

fn collect(object: &Object, into: &mut Vec<Vec<u8>>) {
    let members = |dict: &Dictionary, into: &mut Vec<Vec<u8>>| {
        for (key, value) in dict {
            into.push(key.clone());
            collect(value, into);
        }
    };
    match object {
        Object::String(bytes, _) | Object::Name(bytes) => into.push(bytes.clone()),
        Object::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Object::Dictionary(dict) => members(dict, into),
        Object::Stream(stream) => {
            members(&stream.dict, into);
            into.push(stream.content.clone());
            into.push(stream.get_plain_content().unwrap_or_default());
        }
        _ => {}
    }
}

/// Each page shows one picture; nothing else is in the file.
fn assert_pictures_only(name: &str, document: &Document) {
    let allowed: [&[u8]; 4] = [b"Catalog", b"Pages", b"Page", b"XObject"];
    let pages = document.page_iter().count();
    let (mut tables, mut others) = (0, 0);
    for object in document.objects.values() {
        match object {
            Object::Stream(stream) if stream.dict.has_type(b"XRef") => tables += 1,
            Object::Stream(stream) if stream.dict.get(b"Subtype").is_err() => {
                let content = String::from_utf8_lossy(&stream.content).into_owned();
                assert!(content.ends_with(" cm /P Do") && content.len() < 60, "{name}: {content}");
            }
            Object::Stream(stream) => assert!(stream.dict.has_type(b"XObject"), "{name}"),
            Object::Dictionary(dict) => {
                assert!(dict.get_type().is_ok_and(|kind| allowed.contains(&kind)), "{name}: {dict:?}");
                for key in
                    [&b"Annots"[..], b"Metadata", b"Names", b"AcroForm", b"Outlines", b"OpenAction", b"AA"]
                {
                    assert!(dict.get(key).is_err(), "{name}: {dict:?}");
                }
            }
            _ => others += 1,
        }
    }
    assert_eq!((document.objects.len() - tables, others), (3 * pages + 2, 0), "{name}");
    assert!(document.trailer.get(b"Info").is_err(), "{name}");
}

/// Text that Poppler reads in a file; nothing, and a warning, if Poppler is not installed.
fn pdftotext(bytes: &[u8]) -> Vec<u8> {
    let child =
        Command::new("pdftotext").args(["-", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("SKIPPED: what pdftotext reads is not searched; install poppler-utils");
        return Vec::new();
    };
    let mut input = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
    });
    child.wait_with_output().expect("pdftotext ends").stdout
}

pub fn pages(bytes: &[u8]) -> usize {
    Document::load_mem(bytes).expect("a PDF").page_iter().count()
}

/// Number of pixels of each picture.
pub fn pixels(bytes: &[u8]) -> Vec<i64> {
    let document = Document::load_mem(bytes).expect("a PDF");
    let streams = document.objects.values().filter_map(|object| object.as_stream().ok());
    let side = |dict: &Dictionary, name: &[u8]| dict.get(name).and_then(Object::as_i64).ok();
    streams
        .filter_map(|stream| Some(side(&stream.dict, b"Width")? * side(&stream.dict, b"Height")?))
        .collect()
}
