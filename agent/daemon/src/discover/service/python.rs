//! Python: `gunicorn shop.wsgi:app` is `shop`, `celery -A shop worker` is `shop-worker`, `python -m shop.jobs` is
//! `shop.jobs`, `python /srv/shop/manage.py runserver` is `shop`, `python billing.py` is `billing`.

use super::Program;
use super::path::{
    absolute, file_name, first_operand, folders, option, stem, stem as without, words_of_title,
};

/// Module names that say nothing when a longer path is known.
const GENERIC_MODULES: &[&str] = &["wsgi", "asgi", "app", "main", "application", "server", "__main__", "run"];
/// Script names that say less than the folder they are in.
const GENERIC_SCRIPTS: &[&str] = &["manage", "__main__"];
/// Folders that say nothing either.
const GENERIC_FOLDERS: &[&str] = &["src", "bin", "app", "code", "scripts"];

/// Returns whether arguments are those of a process that runs a part of its parent's program: Python's `multiprocessing`
/// starts them, and with it `uvicorn --workers` and `hypercorn`.
pub(in crate::discover) fn is_part(arguments: &[String]) -> bool {
    let is_program = |program: &String| program.starts_with("from multiprocessing.");
    arguments
        .windows(2)
        .any(|pair| matches!(pair, [option, program] if option == "-c" && is_program(program)))
}

/// Returns the name of what Python runs; none for a prompt or a `-c` program.
pub(super) fn name(program: Program<'_>) -> Option<String> {
    let arguments = program.arguments;
    let first = arguments.first()?;
    if let Some(name) = by_title(arguments) {
        return Some(name);
    }
    if !file_name(first).starts_with("py") {
        // A launcher that is its own executable, or a title that looks like a command line.
        return launcher(first, arguments.get(1..)?, program);
    }
    let takes_value = |argument: &str| matches!(argument, "-W" | "-X" | "--check-hash-based-pycs");
    let ends_options = |argument: &&String| argument.starts_with("-m") || argument.starts_with("-c");
    let operand = first_operand(arguments, 1, takes_value).unwrap_or(arguments.len());
    if let Some(at) = arguments.get(..operand)?.iter().skip(1).position(|argument| ends_options(&argument)) {
        return by_option(arguments.get(at + 1..)?, program);
    }
    // `-` is the standard input.
    let script = arguments.get(operand).filter(|script| *script != "-")?;
    launcher(script, arguments.get(operand + 1..)?, program).or_else(|| Some(script_name(script, program)))
}

/// `gunicorn: master [shop.wsgi:app]`, `gunicorn: worker [shop]`.
fn by_title(arguments: &[String]) -> Option<String> {
    let joined = arguments.join(" ");
    let title = words_of_title(arguments).map_or(joined, |words| words.join(" "));
    let rest = title.strip_prefix("gunicorn: ").or_else(|| title.strip_prefix("[gunicorn: "))?;
    let application = rest.split_once('[')?.1.split(']').next()?;
    module(application)
}

fn by_option(arguments: &[String], program: Program<'_>) -> Option<String> {
    let first = arguments.first()?.strip_prefix("-m")?;
    let (module, rest) = if first.is_empty() {
        (arguments.get(1)?.as_str(), arguments.get(2..)?)
    } else {
        (first, arguments.get(1..)?)
    };
    launcher(module, rest, program).or_else(|| Some(without(module, &[".__main__", ".main"]).to_owned()))
}

/// Names what a program that only serves another was asked to serve.
fn launcher(launcher: &str, arguments: &[String], program: Program<'_>) -> Option<String> {
    let operand = |takes_value: fn(&str) -> bool| {
        first_operand(arguments, 0, takes_value).and_then(|at| arguments.get(at)).map(String::as_str)
    };
    let found = match stem(launcher, &[".py", ".__main__"]) {
        // Options of gunicorn and its kin nearly all take a value, so the application is the operand with a colon,
        // or else the last one.
        "gunicorn" | "hypercorn" | "uvicorn" | "daphne" | "granian" | "waitress-serve" | "waitress" => {
            module(served(arguments)?)
        }
        "celery" => {
            let application = option(arguments, &["-A", "--app"]).and_then(module)?;
            let role = arguments.iter().find(|word| matches!(word.as_str(), "worker" | "beat" | "flower"));
            Some(role.map_or(application.clone(), |role| format!("{application}-{role}")))
        }
        "flask" => {
            let application =
                option(arguments, &["-A", "--app"]).or(program.environment.flask_application.as_deref());
            application.and_then(module)
        }
        "uwsgi" => option(arguments, &["--module", "-w", "--wsgi-file", "--wsgi", "--file"]).and_then(module),
        "fastapi" => operand(|_| false)
            .and_then(|_| arguments.iter().rev().find(|word| word.ends_with(".py")))
            .map(|script| script_name(script, program)),
        "opentelemetry-instrument" | "ddtrace-run" | "newrelic-admin" | "debugpy" => {
            let at = first_operand(arguments, 0, |argument| argument.starts_with("--"))?;
            let inner = arguments.get(at)?;
            launcher_of(inner, arguments.get(at + 1..)?, program)
        }
        _ => return None,
    };
    found.or_else(|| Some(stem(launcher, &[".py"]).to_owned()))
}

fn launcher_of(inner: &str, arguments: &[String], program: Program<'_>) -> Option<String> {
    let words: Vec<String> = std::iter::once(inner.to_owned()).chain(arguments.iter().cloned()).collect();
    if file_name(inner).starts_with("py") {
        return name(Program { arguments: &words, ..program });
    }
    launcher(inner, arguments, program).or_else(|| Some(script_name(inner, program)))
}

fn served(arguments: &[String]) -> Option<&str> {
    let is_option = |at: usize| arguments.get(at).is_some_and(|argument| argument.starts_with('-'));
    let operands = || arguments.iter().enumerate().filter(|(at, _)| !is_option(*at));
    let is_application = |word: &str| {
        let Some((module, attribute)) = word.split_once(':') else {
            return false;
        };
        let is_name = |text: &str| text.starts_with(|first: char| first.is_alphabetic() || first == '_');
        is_name(module) && is_name(attribute) && !attribute.starts_with("//") && !module.contains('/')
    };
    let with_colon = operands().map(|(_, word)| word.as_str()).find(|word| is_application(word));
    let last = || {
        operands().filter(|(at, _)| *at == 0 || !is_option(at - 1)).map(|(_, word)| word.as_str()).next_back()
    };
    with_colon.or_else(last)
}

/// Returns `shop` for `shop.wsgi:application`, `app` for `app:app`, `web` for `/srv/web.py`.
fn module(application: &str) -> Option<String> {
    let module = application.split([':', '(']).next()?;
    let module =
        if module.contains('/') || module.ends_with(".py") { stem(module, &[".py"]) } else { module };
    let mut parts: Vec<&str> = module.split('.').filter(|part| !part.is_empty()).collect();
    while parts.len() > 1 && parts.last().is_some_and(|last| GENERIC_MODULES.contains(last)) {
        parts.pop();
    }
    (!parts.is_empty()).then(|| parts.join("."))
}

fn script_name(script: &str, program: Program<'_>) -> String {
    let name = stem(script, &[".pyc", ".pyw", ".py", ".pyz", ".pex"]);
    if !GENERIC_SCRIPTS.contains(&name) {
        return name.to_owned();
    }
    let path = absolute(script, program.directory);
    folders(&path)
        .find(|folder| !GENERIC_FOLDERS.contains(&folder.as_str()))
        .unwrap_or_else(|| name.to_owned())
}
