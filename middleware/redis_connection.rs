//! A connection to Redis or Valkey, for the stores of several steps.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, RedisError};

/// A connection to Redis, and the prefix of the names there. Each command has a deadline.
#[derive(Clone)]
pub(crate) struct RedisConnection {
    client: Client,
    /// `None` until the first use: a connection belongs to the runtime in which it is created.
    connection: Arc<Mutex<Option<ConnectionManager>>>,
    pub(crate) prefix: Arc<str>,
    /// A random name of this store, which its clones have too.
    pub(crate) owner: Arc<str>,
    pub(crate) timeout: Duration,
}

impl RedisConnection {
    /// The error of an address contains the address, and with it a password: callers drop it.
    pub(crate) fn new(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let client = Client::open(url)?;
        let timeout = Duration::from_secs(1);
        let number = || RandomState::new().hash_one(0);
        let owner = Arc::from(format!("{:016x}{:016x}", number(), number()));
        Ok(Self { client, connection: Arc::default(), prefix: Arc::from(prefix), owner, timeout })
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.connection()?;
        self.within(command.query_async(&mut connection)).await
    }

    pub(crate) fn connection(&self) -> Result<ConnectionManager, RedisError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*connection {
            return Ok(known.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_millis(250))
            .set_connection_timeout(Some(Duration::from_secs(1)))
            // `within` sets a deadline for the whole command.
            .set_response_timeout(None);
        let new = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        Ok(connection.insert(new).clone())
    }

    pub(crate) async fn within<T>(
        &self,
        asked: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let answer = tokio::time::timeout(self.timeout, asked).await;
        answer.unwrap_or_else(|_| Err((redis::ErrorKind::Io, "no answer in time").into()))
    }

    /// The name of an entry. A digest takes as much memory for a long identifier as for a short one.
    pub(crate) fn key(&self, digest: &[u8; 32]) -> String {
        format!("{}:{}", self.prefix, URL_SAFE_NO_PAD.encode(digest))
    }

    pub(crate) fn show(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The settings of a store in Redis, and its `Debug`, which shows no password.
macro_rules! redis_settings {
    ($store:ident, $prefix:literal, $error:ident, $zero:expr) => {
        impl $store {
            /// Creates a store at an address such as `redis://:password@host:6379/0`. It connects on the first use, and again whenever the
            /// connection is lost.
            ///
            /// # Errors
            ///
            /// If the address can't be parsed.
            pub fn new(url: &str) -> Result<Self, $error> {
                RedisConnection::new(url, $prefix).map(Self).map_err(|_| $error::RedisUrl)
            }

            #[doc = concat!("Sets the prefix of the names of all keys. Defaults to `", $prefix, "`.")]
            #[must_use]
            pub fn prefix(mut self, prefix: &str) -> Self {
                self.0.prefix = Arc::from(prefix);
                self
            }

            /// Sets how long Redis may take to answer. Defaults to one second.
            ///
            /// # Errors
            ///
            /// If it is zero.
            pub fn timeout(mut self, timeout: Duration) -> Result<Self, $error> {
                if timeout.is_zero() {
                    return Err($zero);
                }
                self.0.timeout = timeout;
                Ok(self)
            }
        }

        impl fmt::Debug for $store {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.show(stringify!($store), f)
            }
        }
    };
}
pub(crate) use redis_settings;

/// The longest time to live: ten thousand years, in seconds.
pub(crate) const LONGEST: u64 = 315_576_000_000;
