//! Traces across hosts, and requests that both the agent and an SDK describe, through the real binary.
#![allow(clippy::unwrap_used, reason = "a test program may panic, in its helpers too")]

#[path = "support/bridge.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it, and a test may panic")]
mod bridge;
#[path = "join/doubles.rs"]
mod doubles;
#[path = "join/hostile.rs"]
mod hostile;
#[path = "join/hosts.rs"]
mod hosts;
#[path = "join/messages.rs"]
mod messages;
#[path = "join/world.rs"]
mod world;
