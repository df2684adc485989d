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
    let vectors = wycheproof();
    set("wycheproof", vectors.is_some());
    watch(vectors.as_slice());
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

/// The folder with the files of C2SP/wycheproof: copies of them, or a clone of that repository.
fn wycheproof() -> Option<PathBuf> {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR")?).parent()?.to_owned();
    let vectors = std::env::var_os(VECTORS).unwrap_or_else(|| DEFAULT_VECTORS.into());
    let mut folders = ["wycheproof", "wycheproof/testvectors_v1"]
        .map(|name| root.join(&vectors).join(name))
        .into_iter();
    let folder = folders.find(|folder| folder.join("json_web_signature_test.json").is_file())?;
    println!("cargo::rustc-env=WYCHEPROOF={}", folder.display());
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
    ("node", &["node", "npm"]),
    ("openssl", &["openssl"]),
    ("redis_server", &["redis-server", "redis-cli"]),
];

/// Sets the folder of the published test vectors, from the root of the workspace.
const VECTORS: &str = "TOWER_CHAIN_VECTORS";
const DEFAULT_VECTORS: &str = "../shared/vectors";
