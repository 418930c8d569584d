//! Rules about files and words.

use super::Finding;
use super::source::Source;

/// Lines before the tests above which a file probably hides a seam.
const LONG_FILE: usize = 400;
/// What only stands in a file by accident: folders of one machine, the last one the checkout itself.
const MACHINE_PATHS: [&str; 3] = ["/home/", "/root/", env!("CARGO_MANIFEST_DIR")];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    machine_paths(source, &mut findings);
    if source.is_rust() {
        module_file(source, &mut findings);
        head(source, &mut findings);
        length(source, &mut findings);
        unfinished(source, &mut findings);
    }
    findings
}

fn machine_paths(source: &Source, findings: &mut Vec<Finding>) {
    // This file has to name them.
    if source.path == "xtask/src/tidy/text.rs" {
        return;
    }
    for (index, line) in source.text.lines().enumerate() {
        if let Some(path) = MACHINE_PATHS.iter().find(|path| names_folder(line, path)) {
            findings.push(Finding::new(source, index + 1, format!("a path of one machine ({path})")));
        }
    }
}

/// Whether `line` names the folder itself, and not one of that name further down, as in `example.com/home/`.
fn names_folder(line: &str, folder: &str) -> bool {
    let is_inside = |character: char| character.is_alphanumeric() || "._-}~*".contains(character);
    line.match_indices(folder).any(|(at, _)| !line[..at].ends_with(is_inside))
}

fn module_file(source: &Source, findings: &mut Vec<Finding>) {
    if source.path.ends_with("/mod.rs") {
        findings.push(Finding::new(source, 1, "a module's file is named after it: `name.rs` beside `name/`"));
    }
}

fn head(source: &Source, findings: &mut Vec<Finding>) {
    let is_test = source.is_test() || source.path.ends_with("tests.rs");
    // Build scripts and the like may begin with attributes; the head still comes before code.
    let first = source.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    if !is_test && !first.is_some_and(|line| line.starts_with("//!")) {
        findings.push(Finding::new(
            source,
            1,
            "the module's head (`//!`) is missing: what it takes, makes and must not know",
        ));
    }
}

fn length(source: &Source, findings: &mut Vec<Finding>) {
    let lines = source.product_lines().count();
    if lines > LONG_FILE && !source.is_test() {
        findings.push(Finding::warning(
            source,
            LONG_FILE,
            format!("{lines} lines before the tests: look for a seam"),
        ));
    }
}

fn unfinished(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.code.lines().enumerate() {
        if let Some(word) = ["todo!(", "unimplemented!("].iter().find(|word| line.contains(**word)) {
            findings.push(Finding::new(source, index + 1, format!("unfinished: {word}…)")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text.to_owned())).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_clean_file_passes() {
        assert_eq!(rules("a/src/b.rs", "//! Head.\nfn f() {}\n"), Vec::<String>::new());
        assert_eq!(rules("README.md", "see https://example.com/home/it"), Vec::<String>::new());
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let folder = MACHINE_PATHS[0];
        assert_eq!(rules("README.md", &format!("in {folder}me")).len(), 1);
        assert_eq!(rules("a/src/mod.rs", "//! Head.\n").len(), 1);
        assert_eq!(rules("a/src/b.rs", "fn f() {}\n").len(), 1);
        assert_eq!(rules("a/src/b.rs", "//! Head.\nfn f() { todo!() }\n").len(), 1);
        assert_eq!(rules("a/src/b.rs", &format!("//! Head.\n{}", "fn f() {}\n".repeat(401))).len(), 1);
    }
}
