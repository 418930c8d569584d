//! Real servers on free ports, in folders of their own, ready when returned and stopped when dropped.

mod dnsmasq;
mod ferretdb;
mod go_service;
mod grpc_service;
mod grpc_shop;
mod gunicorn;
mod hop;
mod http_server;
mod kafka;
mod mysql;
mod nats;
mod nginx;
mod node_http2;
mod node_service;
mod postgres;
mod pubsub;
mod rabbitmq;
mod recorded;
mod redis;
mod redis_cluster;
mod tls_service;
mod tokio_service;

pub use dnsmasq::Dnsmasq;
pub use ferretdb::FerretDb;
pub use go_service::{GoService, binary as go_binary};
pub use grpc_service::{GrpcService, Language};
pub use grpc_shop::{GrpcShop, Stack};
pub use gunicorn::{Gunicorn, Workers};
pub use hop::Hop;
pub use http_server::HttpServer;
pub use kafka::Kafka;
pub use mysql::{Flavour, Mysql};
pub use nats::Nats;
pub use nginx::Nginx;
pub use node_http2::NodeHttp2;
pub use node_service::NodeService;
pub use postgres::Postgres;
pub use pubsub::{Client, PubSub};
pub use rabbitmq::Rabbitmq;
pub use recorded::RecordedServer;
pub use redis::Redis;
pub use redis_cluster::RedisCluster;
pub use tls_service::{
    JavaClient, Stack as TlsStack, TlsService, any_java, grpc_java, java, node_with_packages, rustls,
};
pub use tokio_service::TokioService;

use std::time::Duration;

/// How long a server may take until it answers, on a slow and busy machine.
const READY_WITHIN: Duration = Duration::from_secs(60);
