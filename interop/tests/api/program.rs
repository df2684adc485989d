//! Starting and stopping the example.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::programs::{Folder, example};

pub(crate) const API_TOKEN: &str = "an-api-token-that-is-long-enough-for-anyone";

/// The running example, with its own database. It is stopped when this is dropped.
pub(crate) struct Program {
    child: Child,
    /// Kept open: the program may print more.
    _stdout: BufReader<ChildStdout>,
    /// The folder of the database.
    _folder: Folder,
    /// Its output before it started to serve.
    pub(crate) printed: Vec<String>,
    pub(crate) base: String,
}

impl Program {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let mut child = Command::new(example("api"))
            .env("PORT", "0")
            .env("DATABASE", folder.join("posts.db"))
            .env("API_TOKEN", API_TOKEN)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`cargo test --all-features` builds the examples first");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut printed: Vec<String> = Vec::new();
        for line in stdout.by_ref().lines() {
            let line = line.unwrap();
            let last = line.starts_with("curl") && line.ends_with("/api/limited");
            printed.push(line);
            if last {
                break;
            }
        }
        let base = printed[0].strip_prefix("Listening on ").unwrap().to_owned();
        Self { child, _stdout: stdout, _folder: folder, printed, base }
    }

    pub(crate) fn curl_lines(&self) -> impl Iterator<Item = &str> {
        self.printed.iter().map(String::as_str).filter(|line| line.starts_with("curl"))
    }

    /// The token in the curl line for a path.
    pub(crate) fn token_for(&self, path: &str) -> String {
        let line = self.curl_lines().find(|line| line.contains(path)).unwrap();
        let (_, token) = line.split_once("Bearer ").unwrap();
        token.split('\'').next().unwrap().to_owned()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the example with an invalid variable. Returns its exit status and its output.
pub(crate) fn refused_start(name: &str, value: &str) -> (std::process::ExitStatus, String) {
    let folder = Folder::new();
    let output = Command::new(example("api"))
        .env("PORT", "0")
        .env("DATABASE", folder.join("posts.db"))
        .env(name, value)
        .output()
        .unwrap();
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}
