//! Errors with everything that caused them, on one line.

use std::error::Error;

/// Returns an error's text and those of its causes, each that is not said already.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Chained {
        text: &'static str,
        source: Option<Box<Chained>>,
    }

    #[test]
    fn what_is_said_already_is_not_said_again() {
        let inner = Chained { text: "no such file", source: None };
        let middle = Chained { text: "open x: no such file", source: Some(Box::new(inner)) };
        let outer = Chained { text: "read the settings", source: Some(Box::new(middle)) };
        assert_eq!(with_causes(&outer), "read the settings: open x: no such file");
    }
}
