//! The peers to measure.

use std::process::Command;

use crate::Result;
use crate::options::{programs, workspace};

/// The job of a server. `contract` has the same names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Job {
    Bare,
    Pass4,
    Pass16,
    Jwt,
    Post,
}

pub const JOBS: [Job; 5] = [Job::Bare, Job::Pass4, Job::Pass16, Job::Jwt, Job::Post];

impl Job {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Pass4 => "pass4",
            Self::Pass16 => "pass16",
            Self::Jwt => "jwt",
            Self::Post => "post",
        }
    }
}

pub enum Program {
    /// A package of this workspace.
    Rust(&'static str),
    /// A file in `node/`.
    Node(&'static str),
}

pub struct Peer {
    pub id: &'static str,
    pub title: &'static str,
    pub program: Program,
    /// The package whose version is in the report.
    pub package: &'static str,
    pub variant: &'static str,
    /// A variant that differs only in its middleware shares the other jobs with this peer.
    pub like: Option<&'static str>,
}

impl Peer {
    pub fn has(&self, job: Job) -> bool {
        self.like.is_none() || matches!(job, Job::Pass4 | Job::Pass16)
    }

    pub fn is_ours(&self) -> bool {
        self.package == "tower-chain"
    }

    pub fn is_node(&self) -> bool {
        matches!(self.program, Program::Node(_))
    }

    /// The command that starts it, without the arguments.
    pub fn command(&self) -> Result<Command> {
        Ok(match self.program {
            Program::Rust(package) => Command::new(programs()?.join(package)),
            Program::Node(file) => {
                let mut command = Command::new("node");
                command.arg(workspace().join("node").join(file)).env("NODE_ENV", "production");
                command
            }
        })
    }
}

const fn peer(id: &'static str, title: &'static str, program: Program) -> Peer {
    Peer { id, title, program, package: id, variant: "", like: None }
}

const fn variant(
    id: &'static str,
    title: &'static str,
    program: Program,
    package: &'static str,
    variant: &'static str,
    like: Option<&'static str>,
) -> Peer {
    Peer { id, title, program, package, variant, like }
}

use Program::{Node, Rust};

pub static PEERS: [Peer; 15] = [
    peer("hyper", "hyper, by hand", Rust("peer-hyper")),
    peer("tower-chain", "tower-chain", Rust("peer-tower-chain")),
    variant(
        "tower-chain-fn",
        "tower-chain, `async fn`",
        Rust("peer-tower-chain"),
        "tower-chain",
        "fn",
        Some("tower-chain"),
    ),
    variant(
        "tower-chain-hyper",
        "tower-chain on hyper",
        Rust("peer-tower-chain"),
        "tower-chain",
        "hyper",
        None,
    ),
    variant(
        "tower-chain-hyper-fn",
        "tower-chain on hyper, `async fn`",
        Rust("peer-tower-chain"),
        "tower-chain",
        "hyper-fn",
        Some("tower-chain-hyper"),
    ),
    peer("axum", "axum, by `.layer`", Rust("peer-axum")),
    variant(
        "axum-builder",
        "axum, by `ServiceBuilder`",
        Rust("peer-axum"),
        "axum",
        "builder",
        Some("axum"),
    ),
    peer("actix-web", "actix-web", Rust("peer-actix-web")),
    peer("poem", "poem", Rust("peer-poem")),
    peer("salvo", "salvo", Rust("peer-salvo")),
    peer("xitca-web", "xitca-web", Rust("peer-xitca-web")),
    peer("next-connect", "next-connect", Node("next-connect.js")),
    peer("express", "Express", Node("express.js")),
    peer("fastify", "Fastify", Node("fastify.js")),
    peer("hono", "Hono", Node("hono.js")),
];

/// Builds the programs of these peers, and fetches the packages of those on Node.
pub fn build(peers: &[&Peer]) -> Result<()> {
    let mut packages = Vec::new();
    for peer in peers {
        match peer.program {
            Program::Rust(package) if !packages.contains(&package) => packages.push(package),
            _ => {}
        }
    }
    packages.into_iter().try_for_each(build_package)?;
    let node = workspace().join("node");
    if peers.iter().any(|peer| peer.is_node()) && !node.join("node_modules").exists() {
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(node))?;
    }
    Ok(())
}

/// Builds a package separately: in one build with others, its dependencies would also have the features that those enable.
pub fn build_package(package: &str) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--package", package]).current_dir(workspace());
    run(&mut cargo)
}

pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
