//! The standard variables of OTLP exporters, under their own names (OpenTelemetry specification, "Protocol exporter").

use crate::percent;

/// A look-up of variables: the process's own, or a test's.
pub struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// Returns the variables of this process.
    #[must_use]
    pub fn of_process() -> Environment<'static> {
        Environment(&|name| std::env::var(name).ok())
    }

    /// Returns the variables that `look_up` knows.
    #[must_use]
    pub fn from_fn(look_up: &dyn Fn(&str) -> Option<String>) -> Environment<'_> {
        Environment(look_up)
    }

    /// Returns the value of a variable; an empty one counts as unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns the name and value of `OTEL_EXPORTER_OTLP_TRACES_<suffix>`, or of `OTEL_EXPORTER_OTLP_<suffix>`.
    pub(super) fn otlp(&self, suffix: &str) -> Option<(String, String)> {
        let names =
            ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"].map(|prefix| format!("{prefix}{suffix}"));
        names.into_iter().find_map(|name| self.get(&name).map(|value| (name, value)))
    }
}

impl std::fmt::Debug for Environment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

/// Reads `key=value,key=value` with percent-encoded values, as in `OTEL_EXPORTER_OTLP_HEADERS`.
pub(super) fn headers(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| (key.to_owned(), percent::decoded(value.trim())))
    };
    pairs.map(pair).collect()
}
