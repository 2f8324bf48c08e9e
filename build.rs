//! Makes the table of the dashboard's files, which `make dashboard` builds into `dashboard/dist` with their compressed
//! forms beside them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

const DIST: &str = "dashboard/dist";
/// Endings of compressed forms.
const COMPRESSED: [&str; 2] = ["br", "gz"];

fn main() {
    println!("cargo:rerun-if-changed={DIST}");
    println!("cargo:rerun-if-env-changed=FAREBOX_WITHOUT_DASHBOARD");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join(DIST);
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    files.sort();
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let is_left_out = env::var_os("FAREBOX_WITHOUT_DASHBOARD").is_some();
    assert!(
        !files.is_empty() || !is_release || is_left_out,
        "the dashboard is not built: run `make dashboard` first, or set FAREBOX_WITHOUT_DASHBOARD=1 to leave it out"
    );
    let mut table = String::from("static ASSETS: &[Asset] = &[\n");
    let is_compressed =
        |path: &str| path.rsplit_once('.').is_some_and(|(_, ending)| COMPRESSED.contains(&ending));
    for path in files.iter().filter(|path| !is_compressed(path)) {
        let include = |suffix: &str| {
            let file = root.join(format!("{path}{suffix}"));
            let file = file.to_str().expect("the folder's name is UTF-8");
            files.contains(&format!("{path}{suffix}")).then(|| format!("include_bytes!({file:?})"))
        };
        let option =
            |suffix| include(suffix).map_or_else(|| "None".to_owned(), |bytes| format!("Some({bytes})"));
        let bytes = include("").expect("it is in the list");
        let _ = writeln!(
            table,
            "    Asset {{ path: {path:?}, media_type: {:?}, bytes: {bytes}, brotli: {}, gzip: {} }},",
            media_type(path),
            option(".br"),
            option(".gz"),
        );
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("dashboard.rs");
    // Written only where it changes: the program is not compiled again for nothing.
    if fs::read_to_string(&out).ok().as_deref() != Some(&table) {
        fs::write(&out, table).expect("the output folder is writable");
    }
}

/// Collects the files below a folder, by their path from `root`. Hidden ones are not of the build.
fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, files);
        } else if let Ok(below) = path.strip_prefix(root) {
            files.push(below.to_string_lossy().replace('\\', "/"));
        }
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
