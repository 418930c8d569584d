//! Ruby, PHP, Perl, shells, .NET and Erlang.

use super::Program;
use super::path::{absolute, file_name, first_operand, folders, stem, words_of_title};

/// Ruby programs that only serve the application in their working directory.
const RUBY_LAUNCHERS: &[&str] =
    &["puma", "rails", "unicorn", "rackup", "bundle", "sidekiq", "passenger", "falcon", "thin"];
/// Folders that say nothing.
const GENERIC_FOLDERS: &[&str] = &["bin", "script", "scripts", "src", "app", "current", "public"];

/// `ruby billing.rb` is `billing`; Puma and its kin are called after the folder they serve.
pub(super) fn ruby(program: Program<'_>) -> Option<String> {
    let arguments = program.arguments;
    if let Some(name) = puma_title(arguments) {
        return Some(name);
    }
    let takes_value = |argument: &str| matches!(argument, "-r" | "-I" | "-C" | "-E" | "-x" | "-e");
    let script = match family_of_first(arguments)? {
        "ruby" => arguments.get(first_operand(arguments, 1, takes_value)?)?,
        _ => arguments.first()?,
    };
    if arguments.iter().skip(1).take_while(|argument| *argument != script).any(|argument| argument == "-e") {
        return None;
    }
    let name = stem(script, &[".rb", ".ru"]);
    let is_launcher = RUBY_LAUNCHERS.contains(&name.trim_end_matches(':'));
    if is_launcher { folder_name(program).or_else(|| Some(name.to_owned())) } else { Some(name.to_owned()) }
}

fn family_of_first(arguments: &[String]) -> Option<&str> {
    arguments.first().map(|word| super::path::family(file_name(word)))
}

/// `puma 5.6.5 (tcp://0.0.0.0:9292) [shop]`, `puma: cluster worker 0: 42 [shop]`.
fn puma_title(arguments: &[String]) -> Option<String> {
    let title = words_of_title(arguments).map_or_else(|| arguments.join(" "), |words| words.join(" "));
    let is_puma = title.starts_with("puma ") || title.starts_with("puma: ");
    let folder = title.rsplit_once('[')?.1.split(']').next()?;
    (is_puma && !folder.is_empty()).then(|| folder.to_owned())
}

/// `php artisan serve` is called after its folder, `php -S … router.php` after the script, `php-fpm` after itself.
pub(super) fn php(program: Program<'_>) -> Option<String> {
    let arguments = program.arguments;
    let is_pool = arguments.first().is_some_and(|word| file_name(word).starts_with("php-fpm"));
    if is_pool {
        return Some("php-fpm".to_owned());
    }
    let takes_value = |argument: &str| matches!(argument, "-d" | "-S" | "-t" | "-c" | "-z" | "-r");
    let script = arguments.get(first_operand(arguments, 1, takes_value)?)?;
    match stem(script, &[".php"]) {
        "artisan" | "index" | "console" => {
            folder_of(script, program).or_else(|| Some(stem(script, &[".php"]).to_owned()))
        }
        name => Some(name.to_owned()),
    }
}

/// `dotnet Shop.dll` and `dotnet exec Shop.dll` are `Shop`.
pub(super) fn dotnet(program: Program<'_>) -> Option<String> {
    let assembly = program.arguments.iter().skip(1).find(|argument| argument.ends_with(".dll"))?;
    Some(stem(assembly, &[".dll"]).to_owned())
}

/// The script of an interpreter whose options take no separate value. None for `-c` and `-e` programs.
pub(super) fn plain(program: Program<'_>) -> Option<String> {
    let arguments = program.arguments;
    let at = first_operand(arguments, 1, |_| false)?;
    let is_inline =
        arguments.get(1..at)?.iter().any(|option| matches!(option.as_str(), "-c" | "-e" | "-lc" | "-ec"));
    let script = arguments.get(at)?;
    (!is_inline).then(|| stem(script, &[".sh", ".bash", ".pl", ".lua", ".R"]).to_owned())
}

/// The node name (`-sname shop@host`, `-name`), or the release that is booted.
pub(super) fn erlang(program: Program<'_>) -> Option<String> {
    let arguments = program.arguments;
    if arguments.iter().any(|argument| argument.contains("rabbit")) {
        return Some("rabbitmq".to_owned());
    }
    let at =
        arguments.iter().position(|argument| matches!(argument.as_str(), "-sname" | "-name" | "--sname"))?;
    let node = arguments.get(at + 1)?.split('@').next()?;
    (!node.is_empty()).then(|| node.to_owned())
}

fn folder_name(program: Program<'_>) -> Option<String> {
    let directory = program.directory?.join("x");
    folders(&directory).find(|folder| !GENERIC_FOLDERS.contains(&folder.as_str()))
}

fn folder_of(script: &str, program: Program<'_>) -> Option<String> {
    let path = absolute(script, program.directory);
    folders(&path).find(|folder| !GENERIC_FOLDERS.contains(&folder.as_str()))
}
