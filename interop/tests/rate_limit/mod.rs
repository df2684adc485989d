//! The limiter beside other people's software: `express-rate-limit` with equal settings on the same requests, and HTTP clients that obey its header fields.

mod clients;
mod express;
mod nginx;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// Runs a script with the npm packages of `node/package.json`, which are installed once, in the target folder.
fn node(script: &str, argument: &str) -> Output {
    static LOCK: Mutex<()> = Mutex::new(());
    let folder = folder("rate-limit-node");
    let lock = LOCK.lock().unwrap();
    let wanted = include_str!("node/package.json");
    let done = folder.join("installed");
    if std::fs::read_to_string(&done).ok().as_deref() != Some(wanted) {
        std::fs::write(folder.join("package.json"), wanted).unwrap();
        run(&folder, "npm", &["install", "--no-audit", "--no-fund", "--no-package-lock"]);
        std::fs::write(done, wanted).unwrap();
    }
    drop(lock);
    // Packages are found beside the script.
    let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rate_limit/node"));
    std::fs::copy(source.join(script), folder.join(script)).unwrap();
    run(&folder, "node", &[script, argument])
}

/// Runs a script with these packages of PyPI.
fn python(script: &str, argument: &str, packages: &[&str]) -> Output {
    let folder = folder("rate-limit-python");
    let interpreter = folder.join("venv/bin/python");
    if !interpreter.exists() {
        run(&folder, "python3", &["-m", "venv", "venv"]);
    }
    let interpreter = interpreter.to_str().unwrap();
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(&folder, interpreter, &[&install, packages].concat());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rate_limit/");
    run(&folder, interpreter, &[&format!("{source}{script}"), argument])
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(folder: &PathBuf, program: &str, arguments: &[&str]) -> Output {
    let output = Command::new("timeout")
        .arg("300")
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    output
}
