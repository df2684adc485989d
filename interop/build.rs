//! Sets a cfg for each input that some tests need and that is on this machine. Without it, these tests are reported as ignored.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed={VECTORS}");
    for (cfg, programs) in PROGRAMS {
        let found: Option<Vec<_>> = programs.iter().map(|name| find(name)).collect();
        set(cfg, found.is_some());
        // Cargo runs this script again after a program was removed or, while one is missing, after any was installed.
        watch(&found.unwrap_or_else(folders));
    }
    for (cfg, folders, file) in VECTOR_FILES {
        let vectors = vectors(cfg, folders, file);
        set(cfg, vectors.is_some());
        watch(vectors.as_slice());
    }
}

fn set(cfg: &str, is_there: bool) {
    println!("cargo::rustc-check-cfg=cfg({cfg})");
    if is_there {
        println!("cargo::rustc-cfg={cfg}");
    }
}

fn watch(paths: &[PathBuf]) {
    for path in paths.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// The first of the folders that contains the file. Tests receive it in a variable that is named after the cfg.
fn vectors(cfg: &str, folders: &[&str], file: &str) -> Option<PathBuf> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).parent()?.to_owned();
    let vectors = std::env::var_os(VECTORS).unwrap_or_else(|| DEFAULT_VECTORS.into());
    let mut folders = folders.iter().map(|name| root.join(&vectors).join(name));
    let folder = folders.find(|folder| folder.join(file).is_file())?;
    println!("cargo::rustc-env={}={}", cfg.to_ascii_uppercase(), folder.display());
    Some(folder)
}

fn find(program: &str) -> Option<PathBuf> {
    let name = format!("{program}{}", std::env::consts::EXE_SUFFIX);
    folders().into_iter().map(|folder| folder.join(&name)).find(|file| file.is_file())
}

fn folders() -> Vec<PathBuf> {
    std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect()
}

/// Each cfg with the programs that it needs.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("chromium", &["chromium", "chromedriver"]),
    ("curl", &["curl"]),
    ("npm", &["node", "npm"]),
    ("node", &["node", "npm"]),
    ("openssl", &["openssl"]),
    ("python", &["python3"]),
    ("redis_server", &["redis-server", "redis-cli"]),
];

/// Each cfg with the folders of copies or of a clone of a repository, and one of the files in them.
const VECTOR_FILES: &[(&str, &[&str], &str)] = &[
    ("http_state", &["http-state", "http-state/tests/data/parser"], "0001-test"),
    ("json_test_suite", &["JSONTestSuite", "JSONTestSuite/test_parsing"], "y_array_empty.json"),
    ("urlencoded", &["wpt", "wpt/url/resources"], "urlencoded-parser-data.json"),
    ("wycheproof", &["wycheproof", "wycheproof/testvectors_v1"], "json_web_signature_test.json"),
];

/// Sets the folder of the published test vectors, from the root of the workspace.
const VECTORS: &str = "TOWER_CHAIN_VECTORS";
const DEFAULT_VECTORS: &str = "../shared/vectors";
