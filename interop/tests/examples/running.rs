//! Runs an example with the commands of its header.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::gateway::Gateway;
use super::page::Page;
use crate::support::ports::free_port;
use crate::support::programs::{Folder, example};
use crate::support::redis_server::Redis;

/// The programs of a header, in their own folder, on free ports instead of those in the header. They are stopped when this is dropped.
pub(crate) struct Running {
    programs: Vec<Child>,
    shell: Shell,
    _gateway: Option<Gateway>,
    _redis: Option<Redis>,
}

impl Running {
    /// Starts the programs.
    pub(crate) fn start(page: &Page) -> Self {
        let mut shell = Shell::new(page);
        let redis = page.mentions("redis-server").then(Redis::start);
        shell.variables.extend(redis.iter().map(|redis| ("REDIS_URL", redis.url())));
        let gateway = shell.ports.get("9000").map(|&port| Gateway::start(port));
        let of_lambda = gateway.iter().flat_map(|gateway| gateway.lambda.variables());
        shell.variables.extend(of_lambda.map(|(name, value)| (name, value.to_owned())));
        let mut running = Self { programs: Vec::new(), shell, _gateway: gateway, _redis: redis };
        for line in page.run.iter().filter(|_| !page.asks.is_empty()).map(|ask| &*ask.command) {
            if let Some(command) = with_program(line, page, "") {
                running.programs.push(running.shell.start(&format!("exec env {command}")));
            } else if !line.starts_with("redis-server") {
                let output = running.shell.command(line).output().unwrap();
                assert!(output.status.success(), "{line}\n{output:?}");
            }
        }
        running.wait_until_all_ports_answer();
        running
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.shell.ports["3000"])
    }

    /// Runs a shell script while the programs run. Returns its standard output and standard error.
    pub(crate) fn ask(&self, script: &str) -> (String, String) {
        let output = self.shell.command(script).output().unwrap();
        let mut told = String::from_utf8_lossy(&output.stdout).into_owned();
        for (of_page, free) in &self.shell.ports {
            told = told.replace(&format!(":{free}"), &format!(":{of_page}"));
        }
        (told, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn wait_until_all_ports_answer(&mut self) {
        let start = Instant::now();
        for &port in self.shell.ports.values() {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let mut programs = self.programs.iter_mut();
                let ended = programs.any(|program| program.try_wait().unwrap().is_some());
                assert!(!ended, "it has ended: {}", self.shell.complaints());
                let waits = start.elapsed() < Duration::from_secs(60);
                assert!(waits, "it does not listen: {}", self.shell.complaints());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Starts the program of a header with one variable changed. Returns its standard error after it has exited.
pub(crate) fn refused_start(page: &Page, change: &str) -> String {
    let shell = Shell::new(page);
    // A program that accepts the variable fails to listen.
    let _taken = TcpListener::bind(("127.0.0.1", shell.ports["3000"])).unwrap();
    for line in page.run.iter().map(|ask| &ask.command) {
        match with_program(line, page, &format!("exec env {change}")) {
            Some(command) => assert!(!shell.start(&command).wait().unwrap().success()),
            None => drop(shell.command(line).output().unwrap()),
        }
    }
    shell.complaints()
}

/// Returns the text before `cargo`, if a line runs an example.
pub(crate) fn variables_of(line: &str) -> Option<&str> {
    line.split_once("cargo ").map(|(variables, _)| variables)
}

/// Replaces `cargo` with the program in a line that runs an example, and adds a prefix.
pub(crate) fn with_program(line: &str, page: &Page, prefix: &str) -> Option<String> {
    let variables = variables_of(line)?.replace("\\\n", " ");
    let arguments = line.split_once(" -- ").map_or("", |(_, arguments)| arguments);
    Some(format!("{variables} {prefix} '{}' {arguments}", example(&page.name).display()))
}

/// A shell in its own folder.
struct Shell {
    folder: Folder,
    variables: Vec<(&'static str, String)>,
    /// The ports in the header, each with the free port that replaces it.
    ports: BTreeMap<&'static str, u16>,
}

impl Shell {
    fn new(page: &Page) -> Self {
        let folder = Folder::new();
        fs::copy("../Cargo.toml", folder.join("Cargo.toml")).unwrap();
        let named = ["3000", "3001", "3443", "9000"].into_iter();
        let named = named.filter(|port| page.mentions(port));
        let ports: BTreeMap<_, _> = named.map(|port| (port, free_port())).collect();
        let mut variables =
            vec![("NO_PROXY", "*".to_owned()), ("TMPDIR", folder.display().to_string())];
        for (name, port) in [("PORT", "3000"), ("HTTPS_PORT", "3443")] {
            variables.extend(ports.get(port).map(|free| (name, free.to_string())));
        }
        Self { folder, variables, ports }
    }

    fn command(&self, script: &str) -> Command {
        let mut script = script.to_owned();
        for (of_page, free) in &self.ports {
            script = script.replace(of_page, &free.to_string());
        }
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(&*self.folder).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start(&self, command: &str) -> Child {
        let stderr = File::create(self.folder.join("stderr")).unwrap();
        self.command(command).stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
    }

    fn complaints(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }
}
