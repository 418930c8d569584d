//! Pieces of command lines and paths.

use std::path::{Component, Path, PathBuf};

/// Folders between the current one and the root that are looked at.
const MAX_DEPTH: usize = 32;

/// Returns what follows the last slash.
pub(super) fn file_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Returns the file name without the given extensions.
pub(super) fn stem<'a>(path: &'a str, extensions: &[&str]) -> &'a str {
    let name = file_name(path);
    let stem = extensions.iter().find_map(|extension| name.strip_suffix(extension));
    stem.filter(|stem| !stem.is_empty()).unwrap_or(name)
}

/// Returns a program's name without its version: `python3.11` is `python`, `php-fpm8.2` is `php-fpm`.
pub(in crate::discover) fn family(executable: &str) -> &str {
    executable.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.')
}

/// Returns `path` in absolute form, with `.` and `..` resolved by text.
pub(super) fn absolute(path: &str, directory: Option<&Path>) -> PathBuf {
    let joined = directory.unwrap_or(Path::new("/")).join(path);
    let mut resolved = PathBuf::from("/");
    for component in joined.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

/// Returns the names of the folders that hold `path`, innermost first.
pub(super) fn folders(path: &Path) -> impl Iterator<Item = String> {
    let names = path.ancestors().skip(1).filter_map(Path::file_name).take(MAX_DEPTH);
    names.map(|name| name.to_string_lossy().into_owned())
}

/// Returns `path`'s folder and those above it, innermost first.
pub(super) fn ancestors(path: &Path) -> impl Iterator<Item = &Path> {
    path.ancestors().skip(1).take(MAX_DEPTH)
}

/// Returns the words of a process that has replaced its command line by one text with spaces (`setproctitle`).
pub(super) fn words_of_title(arguments: &[String]) -> Option<Vec<String>> {
    let title = arguments.first()?;
    let is_title = arguments.iter().skip(1).all(String::is_empty) && title.contains(' ');
    is_title.then(|| title.split_whitespace().map(str::to_owned).collect())
}

/// Returns the first argument that is no option, counted from `from`. `takes_value` says which options eat the next
/// argument; options that end an interpreter's own are up to the caller.
pub(super) fn first_operand(
    arguments: &[String],
    from: usize,
    takes_value: impl Fn(&str) -> bool,
) -> Option<usize> {
    let mut at = from;
    while let Some(argument) = arguments.get(at) {
        if argument == "--" {
            return Some(at + 1).filter(|&next| next < arguments.len());
        }
        if !argument.starts_with('-') || argument == "-" {
            return Some(at);
        }
        at += if takes_value(argument) { 2 } else { 1 };
    }
    None
}

/// Returns the value of an option: `--name value`, `--name=value`, or, for short ones, `-nvalue`.
pub(super) fn option<'a>(arguments: &'a [String], names: &[&str]) -> Option<&'a str> {
    arguments.iter().enumerate().find_map(|(index, argument)| {
        names.iter().find_map(|name| {
            if argument == name {
                return arguments.get(index + 1).map(String::as_str);
            }
            let rest = argument.strip_prefix(name)?;
            if name.starts_with("--") { rest.strip_prefix('=') } else { Some(rest) }
        })
    })
}
