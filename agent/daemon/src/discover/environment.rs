//! What a process's environment says for telemetry (OpenTelemetry specification, resource SDK).

use crate::percent;

/// Longest environment that is read, in bytes; variables after it are not seen.
pub(super) const MAX_ENVIRONMENT_BYTES: u64 = 256 << 10;
/// Attributes that one process may set.
const MAX_ATTRIBUTES: usize = 64;

/// The variables that matter; all others are never kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `OTEL_SERVICE_NAME`.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, decoded.
    pub attributes: Vec<(String, String)>,
    /// `FLASK_APP`.
    pub flask_application: Option<String>,
}

impl Environment {
    /// Returns what is in `environ`, the NUL-separated text of `/proc/PID/environ`.
    #[must_use]
    pub fn parse(environ: &[u8]) -> Self {
        let mut environment = Self::default();
        for variable in environ.split(|&byte| byte == 0) {
            let Some((name, value)) = split_once(variable, b'=') else {
                continue;
            };
            let text = || String::from_utf8_lossy(value).trim().to_owned();
            match name {
                b"OTEL_SERVICE_NAME" => {
                    environment.service_name = Some(text()).filter(|name| !name.is_empty())
                }
                b"OTEL_RESOURCE_ATTRIBUTES" => environment.attributes = attributes(&text()),
                b"FLASK_APP" => environment.flask_application = Some(text()).filter(|name| !name.is_empty()),
                _ => {}
            }
        }
        environment
    }

    /// Returns the value of a resource attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Reads `key=value,key=value` with percent-encoded values. What cannot be read is left out, the rest kept.
fn attributes(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    let decoded = pairs.map(|(key, value)| (key.trim().to_owned(), percent::decoded(value.trim())));
    decoded.filter(|(key, value)| !key.is_empty() && !value.is_empty()).take(MAX_ATTRIBUTES).collect()
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_variables_and_nothing_else() {
        let environment = Environment::parse(
            b"SECRET=x\0OTEL_SERVICE_NAME= cart \0OTEL_RESOURCE_ATTRIBUTES=service.namespace=shop,a=b%20c%2Cd,bad,=x,e=\0FLASK_APP=web:make()\0",
        );
        assert_eq!(environment.service_name.as_deref(), Some("cart"));
        assert_eq!(environment.attribute("service.namespace"), Some("shop"));
        assert_eq!(environment.attribute("a"), Some("b c,d"));
        assert_eq!(environment.attributes.len(), 2);
        assert_eq!(environment.flask_application.as_deref(), Some("web:make()"));
    }

    #[test]
    fn hostile_texts_do_no_harm() {
        for environ in
            [&b""[..], b"=", b"OTEL_SERVICE_NAME", b"OTEL_SERVICE_NAME=", b"OTEL_RESOURCE_ATTRIBUTES=a=%"]
        {
            let environment = Environment::parse(environ);
            assert_eq!(environment.service_name, None);
        }
        assert_eq!(Environment::parse(b"OTEL_RESOURCE_ATTRIBUTES=a=%zz%4").attribute("a"), Some("%zz%4"));
        let many = format!("OTEL_RESOURCE_ATTRIBUTES={}", "k=v,".repeat(10_000));
        assert_eq!(Environment::parse(many.as_bytes()).attributes.len(), MAX_ATTRIBUTES);
    }
}
