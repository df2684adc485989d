//! The settings of a server.

use std::time::Duration;

use super::error::ServeError;
use super::pace::PaceLimits;

/// The settings of a server.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) header_read_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) body_read_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) min_body_rate: u32,
    pub(super) write_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) min_response_rate: u32,
    pub(super) tcp_keepalive: Duration,
    pub(super) drain_delay: Duration,
    pub(super) drain_grace: Duration,
    pub(super) drain_deadline: Duration,
    pub(super) half_close: bool,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_client: usize,
    pub(super) max_requests_per_connection: u32,
    pub(super) max_connection_age: Duration,
    pub(super) max_header_size: usize,
    pub(super) max_concurrent_streams: u32,
    pub(super) max_buffered_per_connection: usize,
    pub(super) max_buffered_per_network: usize,
    pub(super) max_buffered: usize,
    pub(super) unread_body: u64,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
}

impl Limits {
    /// Refuses zero, with which no request could be served. Reduces times to a year, as adding longer ones to the clock may overflow.
    pub(super) fn checked(mut self) -> Result<Self, ServeError> {
        let durations = [
            (&mut self.header_read_timeout, "header_read_timeout"),
            (&mut self.idle_timeout, "idle_timeout"),
            (&mut self.body_read_timeout, "body_read_timeout"),
            (&mut self.body_timeout, "body_timeout"),
            (&mut self.write_timeout, "write_timeout"),
            (&mut self.response_timeout, "response_timeout"),
            (&mut self.drain_grace, "drain_grace"),
            (&mut self.max_connection_age, "max_connection_age"),
        ];
        for (duration, name) in durations {
            if duration.is_zero() {
                return Err(ServeError::Limit(name));
            }
            *duration = YEAR.min(*duration);
        }
        if self.max_connections == 0 {
            return Err(ServeError::Limit("max_connections"));
        }
        if self.max_connections_per_client == 0 {
            return Err(ServeError::Limit("max_connections_per_client"));
        }
        if self.max_requests_per_connection == 0 {
            return Err(ServeError::Limit("max_requests_per_connection"));
        }
        if self.max_header_size == 0 {
            return Err(ServeError::Limit("max_header_size"));
        }
        if self.max_concurrent_streams == 0 {
            return Err(ServeError::Limit("max_concurrent_streams"));
        }
        if self.max_buffered_per_connection == 0 {
            return Err(ServeError::Limit("max_buffered_per_connection"));
        }
        if self.max_buffered_per_network == 0 {
            return Err(ServeError::Limit("max_buffered_per_network"));
        }
        if self.max_buffered == 0 {
            return Err(ServeError::Limit("max_buffered"));
        }
        Ok(self)
    }

    /// How old a connection may become. `None` if there is no limit.
    pub(super) fn connection_age(&self) -> Option<Duration> {
        (self.max_connection_age < YEAR).then_some(self.max_connection_age)
    }

    /// How fast a client must send the body of a request.
    pub(super) fn body_pace(&self) -> PaceLimits {
        PaceLimits {
            pause: self.body_read_timeout,
            rate: self.min_body_rate,
            total: self.body_timeout,
        }
    }

    /// How fast a client must read a response.
    pub(super) fn response_pace(&self) -> PaceLimits {
        PaceLimits {
            pause: self.write_timeout,
            rate: self.min_response_rate,
            total: self.response_timeout,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_read_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_read_timeout: Duration::from_secs(30),
            body_timeout: Duration::MAX,
            min_body_rate: 0,
            write_timeout: Duration::from_secs(30),
            response_timeout: Duration::MAX,
            min_response_rate: 0,
            tcp_keepalive: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain_grace: Duration::from_secs(2),
            drain_deadline: Duration::from_secs(30),
            half_close: true,
            max_connections: 10_000,
            max_connections_per_client: usize::MAX,
            max_requests_per_connection: u32::MAX,
            max_connection_age: Duration::MAX,
            max_header_size: 16 * 1024,
            max_concurrent_streams: 200,
            max_buffered_per_connection: 1024 * 1024,
            max_buffered_per_network: 64 * 1024 * 1024,
            max_buffered: 128 * 1024 * 1024,
            unread_body: 4 * 1024 * 1024,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
