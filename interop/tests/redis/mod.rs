//! Servers that share their state in a real Redis. Each test starts its own `redis-server` on a free port.

mod faults;
mod idempotency;
mod jwt;
mod rate_limit;
mod signed;
mod slots;
