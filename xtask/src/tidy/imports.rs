//! Which paths of its own crate a file names.

/// Returns the absolute paths (without `crate`) that `code` names by `crate::` or `super::`, with their lines.
///
/// `module` is the path of the file's own module. Groups are opened as far as their first level: `crate::{a, b::c}`
/// names `a` and `b::c`.
pub(super) fn paths(code: &str, module: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while let Some((skipped, base, after)) = next_root(rest, module) {
        line += rest[..skipped].matches('\n').count();
        for tail in tails(after) {
            let mut path: Vec<String> = base.iter().map(|&segment| segment.to_owned()).collect();
            path.extend(tail);
            found.push((line, path));
        }
        rest = &rest[skipped..];
        // Step over the root's first letter, so that the search goes on behind it.
        let step = rest.chars().next().map_or(0, char::len_utf8);
        let step = rest[step..].find("::").map_or(rest.len(), |at| step + at + 2);
        line += rest[..step].matches('\n').count();
        rest = skip_supers(&rest[step..]);
    }
    found
}

/// Returns where the next `crate::` or `super::` begins, which module it stands for, and what follows it.
fn next_root<'c, 'm>(code: &'c str, module: &'m [&'m str]) -> Option<(usize, &'m [&'m str], &'c str)> {
    let mut from = 0;
    loop {
        let here = &code[from..];
        let at = [here.find("crate::"), here.find("super::")].into_iter().flatten().min()? + from;
        let is_word = |character: char| character.is_alphanumeric() || character == '_' || character == ':';
        if code[..at].ends_with(is_word) {
            from = at + 1;
            continue;
        }
        if let Some(after) = code[at..].strip_prefix("crate::") {
            return Some((at, &[], after));
        }
        let after = skip_supers(&code[at..]);
        let levels = (code[at..].len() - after.len()) / "super::".len();
        return Some((at, &module[..module.len().saturating_sub(levels)], after));
    }
}

fn skip_supers(mut rest: &str) -> &str {
    while let Some(after) = rest.strip_prefix("super::") {
        rest = after;
    }
    rest
}

/// Returns the paths that `rest` begins with: one, or the members of a group.
fn tails(rest: &str) -> Vec<Vec<String>> {
    let Some(group) = rest.strip_prefix('{') else {
        return vec![path(rest)];
    };
    let mut members = Vec::new();
    let mut depth = 0_usize;
    let mut begin = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(path(group[begin..at].trim()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(path(group[begin..at].trim()));
                begin = at + 1;
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn path(text: &str) -> Vec<String> {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == ':';
    let end = text.find(|character| !is_part(character)).unwrap_or(text.len());
    text[..end].split("::").filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str, expected: &[(usize, &str)]) {
        let found = paths(code, &["store", "segment"]);
        let found: Vec<_> = found.iter().map(|(line, path)| (*line, path.join("::"))).collect();
        let expected: Vec<_> = expected.iter().map(|&(line, path)| (line, path.to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn plain_paths_are_found() {
        check(
            "use crate::model::Span;\nlet x = crate::query::run();",
            &[(1, "model::Span"), (2, "query::run")],
        );
    }

    #[test]
    fn groups_are_opened() {
        check(
            "use crate::{model::{Span, Trace}, query};",
            &[(1, "model::"), (1, "query")].map(|(line, path)| (line, path.trim_end_matches(':'))),
        );
    }

    #[test]
    fn super_is_resolved() {
        check("use super::wal;\nuse super::super::query::Plan;", &[(1, "store::wal"), (2, "query::Plan")]);
    }

    #[test]
    fn other_crates_are_not() {
        check("use othercrate::x; use aya::maps; pub(crate) fn f() {}", &[]);
    }
}
