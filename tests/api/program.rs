//! Starting and stopping the example.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) const API_TOKEN: &str = "an-api-token-that-is-long-enough-for-anyone";

/// The running example, with a database of its own. It ends when this is dropped.
pub(crate) struct Program {
    child: Child,
    /// Kept open: the program may print more.
    _stdout: BufReader<ChildStdout>,
    database: PathBuf,
    /// All that it has printed before it served.
    pub(crate) printed: Vec<String>,
    pub(crate) base: String,
}

impl Program {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("tower-chain-test-{}-{number}.db", std::process::id());
        let database = std::env::temp_dir().join(name);
        let mut child = Command::new(example())
            .env("PORT", "0")
            .env("DATABASE", &database)
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
        Self { child, _stdout: stdout, database, printed, base }
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
        for end in ["", "-wal", "-shm"] {
            let mut file = self.database.clone().into_os_string();
            file.push(end);
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Starts the example with a variable that it refuses. Gives back how it ended, and what it told.
pub(crate) fn refused_start(name: &str, value: &str) -> (std::process::ExitStatus, String) {
    let database =
        std::env::temp_dir().join(format!("tower-chain-test-{}-refused.db", std::process::id()));
    let output = Command::new(example())
        .env("PORT", "0")
        .env("DATABASE", &database)
        .env(name, value)
        .output()
        .unwrap();
    for end in ["", "-wal", "-shm"] {
        let mut file = database.clone().into_os_string();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Where cargo has put the example: two folders up from this test.
fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples").join(format!("api{}", std::env::consts::EXE_SUFFIX))
}
