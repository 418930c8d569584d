//! What all versions of HTTP share (RFC 9110): fields, URLs, and how requests and responses are described.

pub(super) mod client_address;
pub(super) mod field;
pub(super) mod request;
pub(super) mod response;
pub(super) mod url;
