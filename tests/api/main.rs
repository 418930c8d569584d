//! The bridge's API over HTTP, fed by OTLP.
