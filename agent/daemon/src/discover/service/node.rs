//! Node, Bun and Deno: the name in the nearest `package.json` of the script, else the script's, else its folder's.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Program;
use super::path::{absolute, ancestors, family, file_name, first_operand, folders, stem};
use crate::discover::root::Root;

/// Folders in which a `package.json` belongs to nobody in particular.
const COMMON_FOLDERS: [&str; 4] = ["/", "/tmp", "/var/tmp", "/home"];
/// Largest `package.json` that is read, in bytes.
const MAX_PACKAGE_BYTES: u64 = 256 << 10;
/// Script names that say less than the folder they are in.
const GENERIC_SCRIPTS: &[&str] = &["index", "main", "server", "app", "start", "www", "cli"];
/// Folders that say nothing either.
const GENERIC_FOLDERS: &[&str] =
    &["src", "dist", "build", "bin", "lib", "out", "app", "server", "standalone", ".next"];
const EXTENSIONS: &[&str] = &[".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".jsx", ".tsx"];

/// Returns the name of what Node runs; none for a prompt or an `-e` program.
pub(super) fn name(program: Program<'_>) -> Option<String> {
    let arguments = program.arguments;
    let is_interpreter =
        |word: &String| matches!(family(file_name(word)), "node" | "nodejs" | "bun" | "deno");
    if !arguments.first().is_some_and(is_interpreter) {
        // The program has given itself a title (`next-server (v14)`, `npm start`).
        let title = arguments.first().map(|word| file_name(word).to_owned());
        return by_directory(program).or(title).filter(|name| !name.is_empty());
    }
    let evaluates =
        |argument: &String| matches!(argument.as_str(), "-e" | "-p" | "-pe" | "--eval" | "--print");
    let mut at = first_operand(arguments, 1, takes_value)?;
    if arguments.get(..at)?.iter().any(evaluates) {
        return None;
    }
    // `deno run script`, `bun run script`
    if matches!(arguments.get(at)?.as_str(), "run" | "serve" | "start")
        && !file_name(arguments.first()?).starts_with("node")
    {
        at = first_operand(arguments, at + 1, takes_value)?;
    }
    let script = absolute(arguments.get(at)?, program.directory);
    by_package(&script, program).or_else(|| Some(by_script(&script)))
}

fn takes_value(argument: &str) -> bool {
    let values = [
        "-r",
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "-C",
        "--conditions",
        "--env-file",
        "--title",
        "--input-type",
        "--max-old-space-size-percentage",
        "--diagnostic-dir",
        "--stack-trace-limit",
    ];
    values.contains(&argument)
}

/// Tools live in `node_modules`: what they run is the package around it.
fn by_package(script: &Path, program: Program<'_>) -> Option<String> {
    let root = program.root?;
    let text = script.to_string_lossy();
    let around = text.find("/node_modules/").and_then(|at| text.get(..at));
    let of_user = around.and_then(|folder| package_name(&PathBuf::from(folder).join("x"), root));
    of_user.or_else(|| package_name(script, root))
}

fn by_directory(program: Program<'_>) -> Option<String> {
    package_name(&program.directory?.join("x"), program.root?)
}

fn package_name(file: &Path, root: &Root) -> Option<String> {
    #[derive(Deserialize)]
    struct Package {
        name: Option<String>,
    }
    let texts = ancestors(file)
        .filter(|folder| !COMMON_FOLDERS.iter().any(|common| Path::new(common) == *folder))
        .filter_map(|folder| root.read(&folder.join("package.json"), MAX_PACKAGE_BYTES));
    // A package.json without a name only says how modules are loaded.
    let mut names = texts.filter_map(|text| serde_json::from_str::<Package>(&text).ok()?.name);
    names.find(|name| !name.is_empty())
}

fn by_script(script: &Path) -> String {
    let name = stem(&script.to_string_lossy(), EXTENSIONS).to_owned();
    if !GENERIC_SCRIPTS.contains(&name.as_str()) {
        return name;
    }
    folders(script).find(|folder| !GENERIC_FOLDERS.contains(&folder.as_str())).unwrap_or(name)
}
