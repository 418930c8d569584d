//! `tidy`: the borders between the rooms, and the house rules that no compiler knows.
//!
//! It reads text, not syntax trees: quick, without dependencies, and exact enough, since comments and literals are
//! blanked out first. What it allows is in [`borders`], as tables.

mod borders;
mod imports;
mod source;
mod text;

use std::fmt;

use anyhow::{Result, bail};

use crate::shell;
use source::Source;

/// Something that breaks a rule, or only deserves a look.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    rule: String,
    is_warning: bool,
}

impl Finding {
    fn new(source: &Source, line: usize, rule: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, rule: rule.into(), is_warning: false }
    }

    fn warning(source: &Source, line: usize, rule: impl Into<String>) -> Self {
        Self { is_warning: true, ..Self::new(source, line, rule) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning" } else { "error" };
        write!(formatter, "{kind}: {}:{}: {}", self.path, self.line, self.rule)
    }
}

pub(crate) fn run() -> Result<()> {
    let findings = findings()?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    let errors = findings.iter().filter(|finding| !finding.is_warning).count();
    if errors > 0 {
        bail!("{errors} rules are broken; they are written in ARCHITECTURE.md and CONTRIBUTING.md");
    }
    shell::step("tidy: all borders hold");
    Ok(())
}

fn findings() -> Result<Vec<Finding>> {
    let sources = source::tracked()?;
    let protocols = borders::protocols(&sources);
    Ok(sources
        .iter()
        .flat_map(|source| text::check(source).into_iter().chain(borders::check(source, &protocols)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_tidy() {
        let broken: Vec<_> = findings().unwrap().into_iter().filter(|finding| !finding.is_warning).collect();
        assert!(
            broken.is_empty(),
            "{}",
            broken.iter().map(|finding| format!("{finding}\n")).collect::<String>()
        );
    }
}
