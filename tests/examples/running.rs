//! Running an example as its page says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::page::Page;
use crate::programs::{Folder, example};
use crate::redis_server::Redis;

/// The programs of a page, in a folder of their own, on free ports instead of those of the page. They end when this is dropped.
pub(crate) struct Running {
    programs: Vec<Child>,
    folder: Folder,
    /// Those of the page, each with the one that stands for it.
    ports: BTreeMap<&'static str, u16>,
    /// Kept until the programs have ended.
    _redis: Option<Redis>,
}

impl Running {
    /// Starts what the page starts, or nothing if it needs something that is not installed here.
    pub(crate) fn start(page: &Page) -> Option<Self> {
        let redis = match page.mentions("redis-server") {
            true => Some(Redis::start()?),
            false => None,
        };
        let folder = Folder::new();
        fs::copy("Cargo.toml", folder.join("Cargo.toml")).unwrap();
        let ports = free_ports(page);
        let mut running = Self { programs: Vec::new(), folder, ports, _redis: redis };
        for line in &page.run {
            let line = line.trim_end_matches('&');
            if let Some((variables, rest)) = line.split_once("cargo run ") {
                assert!(rest.starts_with(&format!("--example {}", page.name)), "{line}");
                let program = example(&page.name);
                let program = running
                    .shell(&format!("exec env {variables} '{}'", program.display()))
                    .stdout(Stdio::null())
                    .stderr(File::create(running.folder.join("stderr")).unwrap())
                    .spawn()
                    .unwrap();
                running.programs.push(program);
            } else if !line.starts_with("redis-server") {
                let output = running.shell(line).output().unwrap();
                assert!(output.status.success(), "{line}\n{output:?}");
            }
        }
        running.wait_until_all_ports_answer();
        Some(running)
    }

    /// Runs a script of shell where the programs run.
    pub(crate) fn run(&self, script: &str) -> Output {
        let mut output = self.shell(script).output().unwrap();
        let mut told = String::from_utf8_lossy(&output.stdout).into_owned();
        for (of_page, free) in &self.ports {
            told = told.replace(&format!(":{free}"), &format!(":{of_page}"));
        }
        output.stdout = told.into_bytes();
        output
    }

    fn shell(&self, script: &str) -> Command {
        let mut script = script.to_owned();
        for (of_page, free) in &self.ports {
            script = script.replace(of_page, &free.to_string());
        }
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .current_dir(&*self.folder)
            .env("TMPDIR", &*self.folder)
            .env("PORT", self.ports["3000"].to_string())
            .env("NO_PROXY", "*")
            .stdin(Stdio::null());
        if let Some(port) = self.ports.get("3443") {
            command.env("HTTPS_PORT", port.to_string());
        }
        if let Some(redis) = &self._redis {
            command.env("REDIS_URL", redis.url());
        }
        command
    }

    fn wait_until_all_ports_answer(&mut self) {
        let start = Instant::now();
        for &port in self.ports.values() {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                let ended =
                    self.programs.iter_mut().any(|program| program.try_wait().unwrap().is_some());
                let told = fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
                assert!(!ended, "it has ended: {told}");
                assert!(start.elapsed() < Duration::from_secs(60), "it does not listen: {told}");
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

/// A free port for each that the page names.
fn free_ports(page: &Page) -> BTreeMap<&'static str, u16> {
    let named = ["3000", "3001", "3443"].into_iter().filter(|port| page.mentions(port));
    // All are held until all are found, so that no two are the same.
    let held: Vec<_> =
        named.map(|port| (port, TcpListener::bind("127.0.0.1:0").unwrap())).collect();
    held.iter().map(|(port, listener)| (*port, listener.local_addr().unwrap().port())).collect()
}
