//! The REST interface over real sockets, with the real store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "api/answers.rs"]
mod answers;
#[path = "api/bridge.rs"]
mod bridge;
#[path = "api/description.rs"]
mod description;
#[path = "api/otlp.rs"]
mod otlp;
#[path = "api/paging.rs"]
mod paging;
#[path = "api/refusals.rs"]
mod refusals;
#[path = "api/schema.rs"]
mod schema;
#[path = "api/search.rs"]
mod search;
#[path = "api/shop.rs"]
mod shop;
