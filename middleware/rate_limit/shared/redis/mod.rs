//! A store in Redis or a compatible server.

mod link;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, RedisError, RedisResult, TlsMode};
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::link::Link;
use self::script::{CHARGE, LEAVE, REFUND, RENEW, TAKE};
use super::store::{
    LimitStore, StoreAnswer, StoreCall, StoreError, StoreFuture, StoreQuota, StoreRefund,
    StoreSlot, StoreTurn, StoreWindow,
};
use crate::middleware::lua_script::LuaScript;
use crate::middleware::rate_limit::config::calendar::LONGEST_MONTH;

/// A [`LimitStore`] in Redis or Valkey.
///
/// Each decision is one call of one script, whatever the number of policies, by the clock of Redis alone. If that clock is set back, a client is
/// refused for no longer than before (rounded up by 4 %). Every key has a time to live, and expires when it no longer limits anything. Redis 5 or
/// later is required. If Redis loses its data, all clients have their full quota again. If it may evict keys (`allkeys-*`), clients that have used up
/// their quota may be forgotten: use `volatile-ttl`, or a database of its own.
///
/// A client has a count for each quota that it had under a policy. No quota shortens the count of another one, so servers with different quotas, as
/// during a deployment, may share a store. See [`Policy::quota_by`](crate::middleware::rate_limit::Policy::quota_by) for what a change of plan keeps.
///
/// # Keys and commands
///
/// `prefix` is the prefix and the name of the limiter, such as `limit:search`. Clients are named by their address or by a digest; `{}` marks the hash
/// tag, which selects the slot of a cluster:
///
/// | key | type | content |
/// | --- | --- | --- |
/// | `prefix:{client}:policy` | string | the count of a policy |
/// | `prefix:{network}:policy:level:network` | string | the count of a network, with `ipv6_hierarchy` |
/// | `{prefix}:policy:level:client` | string | the count of a policy, if one of the policies has a key of its own |
/// | `..:#block`, `..:#slots` | string, sorted set | the block of a client, and its requests in flight |
/// | `..:#line` | sorted set | the servers that wait for a slot of a client, with a `queue` |
/// | `prefix:policy:#quota` | string | a quota that an operator has set, without a time to live |
/// | `prefix:{#number}:#probe` | string | written by probes, and gone after a millisecond |
///
/// In a cluster, the clients of one limiter are spread over all nodes. If a policy has a key of its own, all keys of the limiter are in one slot,
/// because one script decides all policies together: use a limiter for each such policy to spread them. A single hot client is in one
/// slot in any case; a [`lease`](super::super::SharedLimits::lease) saves most of its calls.
///
/// An account needs these commands, of which the scripts run the second line; `GET` and `SET` are also called alone, for quotas. From Redis 7.2 on, add `+client|setinfo`, or its refusals are logged:
///
/// ```text
/// ACL SETUSER api on >password resetkeys ~limit:* ~{limit:* resetchannels -@all +eval +evalsha +zrem +del +time +hello
///     +get +mget +set +del +time +zremrangebyscore +zcard +zadd +zrange +pttl +pexpire
/// ```
///
/// For TLS, enable the feature `tokio-rustls-comp` of the crate `redis` and use a `rediss://` address. For a cluster, enable its feature
/// `cluster-async` and pass the connection to [`with_connection`](RedisStore::with_connection): the keys of one client have one hash tag.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::rate_limit::{RedisStore, SharedLimits, WhileUnreachable};
/// use tower_chain::{Chain, RateLimit};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::new("redis://127.0.0.1/")?;
/// let limits = SharedLimits::new(store).prefix("shop").while_unreachable(WhileUnreachable::Local { servers: 3 });
/// let chain = Chain::new().use_(RateLimit::per_minute(600).shared("api", limits)).get(async || "hello");
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
pub struct RedisStore<C = MultiplexedConnection> {
    link: Arc<Link<C>>,
    take: LuaScript,
    refund: LuaScript,
    renew: LuaScript,
    leave: LuaScript,
}

impl RedisStore {
    /// A store at this address, such as `redis://:password@host:6379/0`. It connects on its first use, and again when the connection is lost.
    ///
    /// There is one connection, however many limiters share the store. Opening it has a time limit of its own, 2 s, and is retried after 50 to 250 ms.
    /// A server that refuses writes, because it has become a replica, is replaced by a new connection to the same address.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the address cannot be parsed.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let client = Client::open(url).map_err(StoreError::new)?;
        Ok(Self::of(Link::new(move || {
            let client = client.clone();
            within(CONNECT_TIMEOUT, async move {
                client.get_multiplexed_async_connection_with_config(&connection_config()).await
            })
        })))
    }

    /// A store whose master is found by Redis Sentinel. The host of `url` is the name of the master, as in `redis://:password@mymaster/0`; `sentinels`
    /// are the addresses of the sentinels, such as `redis://10.0.0.1:26379`.
    ///
    /// When the connection is lost, or the server refuses writes because it has become a replica, the sentinels are asked for the master again. Until
    /// they have promoted a new one, the store is unreachable. Replication is asynchronous: charges that the old master had not replicated yet are
    /// lost. A master that is cut off from its replicas accepts writes until it notices that; set `min-replicas-to-write` in Redis to bound this.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if an address cannot be parsed, or if there are no sentinels.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::middleware::rate_limit::RedisStore;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
    /// let store = RedisStore::sentinel("redis://:password@mymaster/0", sentinels)?;
    /// # let _ = store;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sentinel<'a>(
        url: &str,
        sentinels: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, StoreError> {
        let client = Client::open(url).map_err(StoreError::new)?;
        let info = client.get_connection_info();
        let node = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(info.redis_settings().clone());
        let (name, node) = match info.addr() {
            ConnectionAddr::Tcp(host, _) => (host.clone(), node),
            ConnectionAddr::TcpTls { host, insecure: false, .. } => {
                (host.clone(), node.set_tls_mode(TlsMode::Secure))
            }
            ConnectionAddr::TcpTls { host, insecure: true, .. } => {
                (host.clone(), node.set_tls_mode(TlsMode::Insecure))
            }
            _ => return Err(StoreError::new("the address does not contain the name of a master")),
        };
        let sentinels: Vec<_> = sentinels.into_iter().collect();
        // Each sentinel may have to time out before the next one is asked.
        let patience = CONNECT_TIMEOUT * u32::try_from(sentinels.len() + 1).unwrap_or(u32::MAX);
        let master = SentinelServerType::Master;
        let client = SentinelClient::build(sentinels, name, Some(node), master);
        let client = Arc::new(Mutex::new(client.map_err(StoreError::new)?));
        Ok(Self::of(Link::new(move || {
            let client = client.clone();
            within(patience, async move {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&connection_config()).await
            })
        })))
    }
}

impl<C> RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// A store behind a connection that reconnects by itself, such as a connection to a cluster.
    pub fn with_connection(connection: C) -> Self {
        Self::of(Link::of(connection))
    }

    fn of(link: Link<C>) -> Self {
        let [take, refund, renew, leave] =
            [TAKE, REFUND, RENEW, LEAVE].map(|code| LuaScript::new(CHARGE, code));
        Self { link: Arc::new(link), take, refund, renew, leave }
    }

    fn refund_all<'a>(
        &'a self,
        refunds: Vec<(&'a String, Duration, Option<StoreQuota>)>,
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let arguments = |cmd: &mut Cmd| {
                cmd.arg(refunds.len());
                for (key, ..) in &refunds {
                    cmd.arg(key);
                }
                for (_, time, quota) in &refunds {
                    // Rounded down, so never more is refunded than was charged.
                    cmd.arg(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(LONGEST));
                    add_quota(cmd, *quota, quota.and_then(|quota| quota.window));
                }
            };
            self.with(async |connection| self.refund.run(connection, arguments).await).await
        })
    }

    /// Runs a command on the connection. An error that shows that the connection is of no use closes it.
    async fn with<T>(
        &self,
        command: impl AsyncFnOnce(&mut C) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let (mut connection, number) = self.link.connection().await?;
        let answer = command(&mut connection).await;
        answer.map_err(|error| {
            if error.is_io_error() || error.is_unrecoverable_error() {
                self.link.close(number);
            } else if is_replica(&error) {
                self.link.close_unless_new(number);
            }
            failure(error)
        })
    }
}

impl<C> LimitStore for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn take<'a>(&'a self, call: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
        Box::pin(async move {
            let slot = call.slot.as_ref();
            let keys = call.charges.iter().map(|charge| &charge.key);
            let turn = slot.and_then(|slot| slot.turn.as_ref());
            let of_slots = slot.map(|slot| &slot.key).into_iter().chain(turn.map(|turn| &turn.key));
            let keys: Vec<&String> = keys.chain(&call.blocks).chain(of_slots).collect();
            let arguments = |cmd: &mut Cmd| {
                cmd.arg(keys.len()).arg(&keys);
                cmd.arg(u8::from(call.forced)).arg(call.lease).arg(call.charges.len());
                cmd.arg(call.blocks.len());
                match slot {
                    Some(StoreSlot { most, id, longest, .. }) => {
                        cmd.arg(most).arg(id).arg(micros(*longest).min(LONGEST))
                    }
                    None => cmd.arg(0).arg(0).arg(0),
                };
                match turn {
                    Some(turn) => cmd.arg(&turn.server).arg(u8::from(turn.waits)),
                    None => cmd.arg("").arg(0),
                };
                for charge in &call.charges {
                    let time = |requests: u32| {
                        micros(charge.interval).saturating_mul(requests.into()).min(LONGEST)
                    };
                    let longest = micros(charge.longest).min(LONGEST);
                    cmd.arg(time(charge.burst)).arg(time(charge.cost)).arg(longest);
                    cmd.arg(u8::from(charge.shadow));
                    add_quota(cmd, charge.quota, charge.window);
                }
            };
            let answer: Vec<u64> =
                self.with(async |connection| self.take.run(connection, arguments).await).await?;
            match &answer[..] {
                [admitted, leased, busy, shadowed, times @ ..]
                    if times.len() >= 2 * call.charges.len() =>
                {
                    let mut times = times.iter().map(|time| Duration::from_micros(*time));
                    Ok(StoreAnswer {
                        admitted: *admitted == 1,
                        charged_for: times.by_ref().take(call.charges.len()).collect(),
                        windows: times.by_ref().take(call.charges.len()).collect(),
                        shadowed: u32::try_from(*shadowed).unwrap_or(0),
                        leased: u32::try_from(*leased).unwrap_or(0),
                        blocked_for: times.collect(),
                        is_busy: *busy == 1,
                    })
                }
                _ => Err(StoreError::new("the script returned too few values")),
            }
        })
    }

    fn refund<'a>(&'a self, keys: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
        let refunds = keys.iter().map(|(key, time)| (key, *time, None));
        self.refund_all(refunds.collect())
    }

    fn refund_charges<'a>(&'a self, refunds: &'a [StoreRefund]) -> StoreFuture<'a, ()> {
        self.refund_all(
            refunds.iter().map(|refund| (&refund.key, refund.time, refund.quota)).collect(),
        )
    }

    fn release<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut call = redis::cmd("ZREM");
            call.arg(&slot.key).arg(&slot.id);
            self.with(async |connection| match call.query_async(connection).await {
                // The key does not contain slots, so there is nothing to release.
                Err(error) if error.code() == Some("WRONGTYPE") => Ok(()),
                released => released,
            })
            .await
        })
    }

    fn supports_renewal(&self) -> bool {
        true
    }

    fn renew<'a>(&'a self, slot: &'a StoreSlot) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let arguments = |cmd: &mut Cmd| {
                let longest = micros(slot.longest).min(LONGEST);
                cmd.arg(1).arg(&slot.key).arg(&slot.id).arg(longest);
            };
            self.with(async |connection| self.renew.run(connection, arguments).await).await
        })
    }

    fn leave_line<'a>(&'a self, turn: &'a StoreTurn) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let arguments = |cmd: &mut Cmd| {
                cmd.arg(1).arg(&turn.key).arg(&turn.server);
            };
            self.with(async |connection| self.leave.run(connection, arguments).await).await
        })
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut call = redis::cmd("DEL");
            for key in keys {
                call.arg(key);
            }
            self.with(async |connection| call.query_async(connection).await).await
        })
    }

    fn supports_windows(&self) -> bool {
        true
    }

    fn read<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<String>> {
        Box::pin(async move {
            let mut call = redis::cmd("GET");
            call.arg(key);
            self.with(async |connection| call.query_async(connection).await).await
        })
    }

    fn write<'a>(&'a self, key: &'a str, value: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut call = redis::cmd("SET");
            call.arg(key).arg(value);
            self.with(async |connection| call.query_async(connection).await).await
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (_, number) = self.link.connection().await?;
            // In a cluster, `TIME` is sent to one node; `PING` would need an answer of all.
            let time = redis::cmd("TIME");
            let ask = || self.with(async |connection| time.query_async(connection).await);
            let _: (u64, u64) = match timeout(PING_TIMEOUT, ask()).await {
                Ok(answer) => answer?,
                // The host may be gone, and the connection hangs.
                Err(_) if self.link.close(number) => ask().await?,
                Err(_) => return Err(StoreError::new("no answer")),
            };
            Ok(())
        })
    }
}

/// The address is not shown: it may contain a password.
impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

/// The five arguments that name a quota and its window in the scripts.
fn add_quota(cmd: &mut Cmd, quota: Option<StoreQuota>, window: Option<StoreWindow>) {
    match quota {
        Some(quota) => cmd.arg(micros(quota.interval).clamp(1, LONGEST)).arg(quota.burst.max(1)),
        None => cmd.arg(0).arg(0),
    };
    match window {
        None => cmd.arg(0).arg(0).arg(0),
        Some(StoreWindow::Calendar { length, start }) => {
            cmd.arg(micros(length)).arg(micros(start)).arg(0)
        }
        // A grid of 1 marks a month: others are at least 32.
        Some(StoreWindow::Month { shift }) => {
            cmd.arg(micros(LONGEST_MONTH)).arg(micros(shift)).arg(1)
        }
        Some(StoreWindow::FirstRequest { length, grid }) => {
            cmd.arg(micros(length)).arg(0).arg(micros(grid))
        }
    };
}

fn connection_config() -> AsyncConnectionConfig {
    // The limiter has its own deadline.
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
}

/// Opens a connection within this time. The whole of it is limited, with the handshake and the look-up of the name.
fn within<C: Send + 'static>(
    time: Duration,
    connect: impl Future<Output = RedisResult<C>> + Send + 'static,
) -> BoxFuture<'static, Result<C, StoreError>> {
    Box::pin(async move {
        match timeout(time, connect).await {
            Ok(connected) => connected.map_err(StoreError::new),
            Err(_) => Err(StoreError::new("the connection was not opened in time")),
        }
    })
}

/// Whether the server refuses writes because it is a replica. Redis wraps the errors of commands in a script before version 7.
fn is_replica(error: &RedisError) -> bool {
    error.to_string().contains("READONLY")
}

/// The failure of a command. Where only the keys are at fault, the store itself is well.
fn failure(error: RedisError) -> StoreError {
    let text = error.to_string();
    // Before version 7, Redis wraps the error of a command in an error of the script.
    match text.contains("WRONGTYPE") || text.contains("permissions to access a key") {
        true => StoreError::of_keys(error),
        false => StoreError::new(error),
    }
}

/// Microseconds, rounded up. Scripts calculate in doubles, which are exact up to 2^53: too small for nanoseconds since 1970.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// How long opening a connection may take, and how long a probe waits for an answer on an open one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// 100 years in microseconds. The sum with the time since 1970 is below 2^53.
const LONGEST: u64 = 100 * 366 * 24 * 3600 * 1_000_000;
