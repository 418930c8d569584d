//! Kinds and statuses as the API writes them.

use crate::model::{SpanKind, StatusCode};

/// All kinds by name.
pub(super) const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
/// All statuses by name.
pub(super) const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// Returns the kind's name; a number that OTLP does not define is written as such.
pub(super) fn kind_name(kind: SpanKind) -> String {
    let number = kind.to_otlp();
    name(&KINDS, number)
}

/// Returns the status's name, likewise.
pub(super) fn status_name(status: StatusCode) -> String {
    name(&STATUSES, status.to_otlp())
}

/// Returns the kind with that name.
pub(super) fn parse_kind(text: &str) -> Option<SpanKind> {
    number(&KINDS, text).map(SpanKind::from_otlp)
}

/// Returns the status with that name.
pub(super) fn parse_status(text: &str) -> Option<StatusCode> {
    number(&STATUSES, text).map(StatusCode::from_otlp)
}

fn name(names: &[&str], number: i32) -> String {
    let known = usize::try_from(number).ok().and_then(|at| names.get(at));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn number(names: &[&str], text: &str) -> Option<i32> {
    names.iter().position(|name| *name == text).and_then(|at| i32::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_otlp() {
        let kinds = [
            SpanKind::Unspecified,
            SpanKind::Internal,
            SpanKind::Server,
            SpanKind::Client,
            SpanKind::Producer,
            SpanKind::Consumer,
        ];
        assert_eq!(kinds.map(kind_name), KINDS);
        assert_eq!(KINDS.map(parse_kind), kinds.map(Some));
        assert_eq!(kind_name(SpanKind::Other(-7)), "-7");
        let statuses = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
        assert_eq!(statuses.map(status_name), STATUSES);
        assert_eq!(STATUSES.map(parse_status), statuses.map(Some));
        assert_eq!((parse_kind("Server"), parse_status("2")), (None, None));
    }
}
