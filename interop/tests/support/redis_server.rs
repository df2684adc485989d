//! A Redis for one test, or a cluster of them. Tests that start one have a `cfg_attr` that ignores them if it is not installed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::ports::free_port;

/// A server on its own port, without a file. It is stopped when this is dropped.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
}

impl Redis {
    /// Starts a server on a free port.
    pub(crate) fn start() -> Self {
        Self::start_on(free_port())
    }

    pub(crate) fn start_on(port: u16) -> Self {
        Self::start_with(port, &[])
    }

    pub(crate) fn start_with(port: u16, args: &[&str]) -> Self {
        Self::spawn(port, &[], &[&["--save", "", "--appendonly", "no"], args].concat())
    }

    /// Starts a server with a file of settings, or none, and further arguments.
    fn spawn(port: u16, file: &[&str], args: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(file)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let redis = Self { child, port };
        let start = Instant::now();
        while !redis.answers() {
            assert!(start.elapsed() < Duration::from_secs(20), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    fn answers(&self) -> bool {
        let mut answer = [0; 7];
        let asked = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut answer)
        });
        asked.is_ok() && answer == *b"+PONG\r\n"
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    }

    pub(crate) async fn keys(&self) -> redis::RedisResult<Vec<String>> {
        self.ask(redis::cmd("KEYS").arg("*")).await
    }

    /// Returns how often a script ran.
    pub(crate) async fn calls(&self) -> u64 {
        let info: String = self.ask(redis::cmd("INFO").arg("commandstats")).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }

    /// Returns how many connections were opened.
    pub(crate) async fn connections(&self) -> u64 {
        let info: String = self.ask(redis::cmd("INFO").arg("stats")).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three masters without replicas. If one stops, its keys are unreachable, and the others continue.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
    folder: PathBuf,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("cluster-{}", free_port()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut cluster = Self { nodes: Vec::new(), folder };
        for at in 0..3 {
            let (config, bus) = (format!("nodes-{at}.conf"), free_port().to_string());
            let folder = cluster.folder.to_str().unwrap().to_owned();
            let args = [
                ["--cluster-enabled", "yes"],
                ["--cluster-config-file", &config],
                ["--cluster-port", &bus],
                ["--cluster-node-timeout", "1000"],
                ["--cluster-require-full-coverage", "no"],
                ["--dir", &folder],
            ];
            cluster.nodes.push(Redis::start_with(free_port(), args.as_flattened()));
        }
        let nodes = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let create = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes)
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(create.status.success(), "{}", String::from_utf8_lossy(&create.stdout));
        for node in &cluster.nodes {
            until("the cluster does not form", async || {
                let info: String = node.ask(redis::cmd("CLUSTER").arg("INFO")).await.unwrap();
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            })
            .await;
        }
        cluster
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A master, a replica, and three sentinels that promote the replica when the master dies.
pub(crate) struct Sentinels {
    pub(crate) master: Redis,
    pub(crate) replica: Redis,
    sentinels: Vec<Redis>,
    folder: PathBuf,
}

impl Sentinels {
    pub(crate) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("sentinels-{}", free_port()));
        std::fs::create_dir_all(&folder).unwrap();
        // A replica writes a copy of the data of its master there.
        let dir = folder.to_str().unwrap();
        let master = Redis::start_with(free_port(), &["--dir", dir]);
        let of = format!("127.0.0.1 {}", master.port);
        let replica = Redis::start_with(
            free_port(),
            &[
                "--replicaof",
                "127.0.0.1",
                &master.port.to_string(),
                "--repl-diskless-sync-delay",
                "0",
                "--dir",
                dir,
            ],
        );
        until("the replica does not connect", async || {
            let info: String = replica.ask(redis::cmd("INFO").arg("replication")).await.unwrap();
            info.contains("master_link_status:up")
        })
        .await;
        let sentinels = (0..3).map(|at| {
            let file = folder.join(format!("sentinel-{at}.conf"));
            let config = format!(
                "sentinel monitor mymaster {of} 2\nsentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
            );
            std::fs::write(&file, config).unwrap();
            Redis::spawn(free_port(), &[file.to_str().unwrap()], &["--sentinel"])
        });
        let sentinels: Vec<_> = sentinels.collect();
        for sentinel in &sentinels {
            until("the sentinels do not find each other", async || {
                let ask = |what: &str| {
                    let mut command = redis::cmd("SENTINEL");
                    command.arg(what).arg("mymaster");
                    command
                };
                let others = sentinel.ask::<Vec<redis::Value>>(&ask("SENTINELS")).await;
                let replicas = sentinel.ask::<Vec<redis::Value>>(&ask("REPLICAS")).await;
                matches!((others, replicas), (Ok(others), Ok(replicas)) if others.len() == 2 && replicas.len() == 1)
            })
            .await;
        }
        Self { master, replica, sentinels, folder }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        self.sentinels.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits for another program.
pub(crate) async fn until(failure: &str, mut is: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is().await {
        assert!(start.elapsed() < Duration::from_secs(20), "{failure}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
