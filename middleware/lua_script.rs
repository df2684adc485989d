//! Scripts that run in Redis, for the stores of several steps.

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ServerErrorKind};

/// A script, which Redis caches under its hash.
pub(crate) struct LuaScript {
    code: String,
    hash: String,
}

impl LuaScript {
    /// A script that begins with the code that several scripts share.
    pub(crate) fn new(shared: &str, code: &str) -> Self {
        let code = format!("{shared}{code}");
        Self { hash: Script::new(&code).get_hash().to_owned(), code }
    }

    /// Runs the script by its hash. If the node does not know it, the same call is repeated with the code, which goes to the same node.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let mut cached = redis::cmd("EVALSHA");
        arguments(cached.arg(&self.hash));
        match cached.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let mut full = redis::cmd("EVAL");
                arguments(full.arg(&self.code));
                full.query_async(connection).await
            }
            answer => answer,
        }
    }
}
