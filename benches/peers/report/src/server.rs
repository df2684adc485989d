//! A running server, and the kernel's figures for it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::peers::{Job, Peer};

/// Enough for any load: 50 million per minute.
pub const NO_LIMIT: u32 = 50_000_000;

pub struct Server {
    child: Child,
    pub addr: SocketAddr,
}

/// The CPU time of a process since it started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// All of its threads, in nanoseconds.
    pub cpu: u64,
    /// In clock ticks of a hundredth of a second: accurate enough for ratios over long times.
    pub user: u64,
    pub system: u64,
}

impl Server {
    /// Starts a server on core 0, and waits until it listens.
    pub fn start(peer: &Peer, job: Job, limit: u32) -> Result<Self> {
        Self::start_on(peer, job, limit, "0", &[])
    }

    pub fn start_on(
        peer: &Peer,
        job: Job,
        limit: u32,
        cores: &str,
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let server = peer.command()?;
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(server.get_program()).args(server.get_args());
        for (name, value) in server.get_envs() {
            value.map(|value| command.env(name, value));
        }
        command.envs(env.iter().copied());
        command.args([job.name(), &port.to_string(), &limit.to_string(), peer.variant]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut server = Self { child, addr: (Ipv4Addr::LOCALHOST, port).into() };
        let begin = Instant::now();
        while TcpStream::connect(server.addr).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{} ({}) ended: {status}", peer.id, job.name()).into());
            }
            if begin.elapsed() > Duration::from_secs(20) {
                return Err(format!("{} ({}) doesn't listen", peer.id, job.name()).into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub fn usage(&self) -> Result<Usage> {
        let process = format!("/proc/{}", self.child.id());
        let mut cpu = 0;
        for task in fs::read_dir(format!("{process}/task"))? {
            // A thread may end in between.
            let Ok(stat) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            cpu += stat.split(' ').next().ok_or("schedstat is empty")?.parse::<u64>()?;
        }
        let stat = fs::read_to_string(format!("{process}/stat"))?;
        // The name of the program is in parentheses, and may contain any character.
        let fields = stat.rsplit_once(") ").ok_or("stat has no name")?.1;
        let mut fields = fields.split(' ').skip(11);
        let mut ticks = || fields.next().ok_or("stat is short")?.parse().map_err(Into::into);
        let ticks: &mut dyn FnMut() -> Result<u64> = &mut ticks;
        Ok(Usage { cpu, user: ticks()?, system: ticks()? })
    }

    pub fn open_files(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// A field of `/proc/PID/status`, in KiB: `VmHWM` is the peak resident memory.
    pub fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no such field")?;
        Ok(kib.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process has no data to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
