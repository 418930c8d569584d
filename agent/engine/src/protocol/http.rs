//! What all versions of HTTP share (RFC 9110): fields, URLs, how requests and responses are described, and what is looked
//! at in bodies.

pub(super) mod client_address;
pub(super) mod content;
pub(super) mod field;
pub(super) mod request;
pub(super) mod response;
pub(super) mod url;
