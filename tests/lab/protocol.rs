//! What the measured calls speak.

/// A protocol whose calls are told by the port that they go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Http,
    Postgresql,
    Redis,
    Grpc,
    Mysql,
    Mongodb,
    Kafka,
}

impl Protocol {
    /// All, in the order of the table's columns.
    pub(crate) const ALL: [Self; 7] =
        [Self::Http, Self::Postgresql, Self::Redis, Self::Grpc, Self::Mysql, Self::Mongodb, Self::Kafka];

    /// Returns its name in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Postgresql => "postgresql",
            Protocol::Redis => "redis",
            Protocol::Grpc => "grpc",
            Protocol::Mysql => "mysql",
            Protocol::Mongodb => "mongodb",
            Protocol::Kafka => "kafka",
        }
    }
}
