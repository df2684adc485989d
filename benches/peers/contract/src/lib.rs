//! The contract of every server here, as types: its requests, responses and command line.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use governor::Quota;
use serde::Deserialize;
pub use serde::Serialize;
use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use validator::Validate;

/// The response to `GET /hello`, as `text/plain; charset=utf-8`.
pub const HELLO: &str = "Hello, world!";
/// The secret of the tokens, for HS256.
pub const SECRET: &[u8] = b"an example secret of 256 bits !!";

/// The claims of a token, and the response to `GET /me`, as JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Member {
    pub sub: String,
    pub roles: Vec<String>,
}

/// The body of `POST /api/users`, as JSON.
#[derive(Debug, Deserialize, Validate)]
pub struct NewUser {
    #[validate(length(min = 1))]
    pub name: String,
    #[validate(email)]
    pub email: String,
}

/// The response to `POST /api/users`: 201, as JSON.
#[derive(Debug, Serialize)]
pub struct Created {
    pub id: usize,
    pub name: String,
    pub by: String,
}

impl Created {
    /// The work of the handler.
    pub fn new(user: NewUser, by: &str) -> Self {
        Self { id: user.email.len(), name: user.name, by: by.to_owned() }
    }
}

/// The body of every error, as JSON: the reason phrase of its status.
#[derive(Debug, Serialize)]
pub struct Refusal {
    pub error: &'static str,
}

/// The job of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Job {
    /// `GET /hello`, without any middleware.
    Bare,
    /// The same, with 4 middleware that pass every request on.
    Pass4,
    /// The same, with 16 middleware.
    Pass16,
    /// `GET /me`: a token is verified, the handler answers with its claims.
    Jwt,
    /// `POST /api/users`: a limit per client, a token, a body of JSON, its validation, the handler.
    Post,
}

impl FromStr for Job {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "bare" => Self::Bare,
            "pass4" => Self::Pass4,
            "pass16" => Self::Pass16,
            "jwt" => Self::Jwt,
            "post" => Self::Post,
            _ => return Err(format!("no job is called {name:?}")),
        })
    }
}

/// The command line of every server: `JOB PORT LIMIT [VARIANT]`.
#[derive(Clone, Debug)]
pub struct Args {
    pub job: Job,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The number of requests per minute that each client may make, also all at once.
    pub limit: NonZeroU32,
    /// The variant of the implementation, if there are several.
    pub variant: String,
}

impl Args {
    /// Reads the command line. Panics if it is wrong.
    pub fn read() -> Self {
        let mut args = std::env::args().skip(1);
        let mut next = |name: &str| args.next().unwrap_or_else(|| panic!("{name} is missing"));
        let job = next("JOB").parse().expect("JOB");
        let port = next("PORT").parse().expect("PORT");
        let limit = next("LIMIT").parse().expect("LIMIT");
        Self { job, port, limit, variant: args.next().unwrap_or_default() }
    }

    /// The limit, for peers that use `governor`.
    pub fn quota(&self) -> Quota {
        Quota::with_period(self.period()).expect("a period").allow_burst(self.limit)
    }

    /// The interval after which one more request is allowed.
    pub fn period(&self) -> Duration {
        Duration::from_secs(60) / self.limit.get()
    }
}

/// A listener for peers that can't set `TCP_NODELAY`: a connection inherits it from its listener.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// A runtime with one thread, or with the number of workers in `WORKERS`.
pub fn runtime() -> io::Result<Runtime> {
    match std::env::var("WORKERS").ok().and_then(|workers| workers.parse().ok()) {
        None | Some(1) => Builder::new_current_thread().enable_all().build(),
        Some(workers) => Builder::new_multi_thread().worker_threads(workers).enable_all().build(),
    }
}
