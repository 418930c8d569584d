//! The table of TLS libraries in `docs/tls.md`: each line is written by the test that shows it, and compared with.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::locate;

/// Around the table.
const BEGIN: &str = "<!-- written by the tests: begin -->\n";
const END: &str = "<!-- written by the tests: end -->\n";
/// As `expect_test` has it.
const UPDATE: &str = "UPDATE_EXPECT";

/// One line: a program, and by which library it encrypts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was tested, by which the line is known.
    pub program: String,
    /// What it runs on.
    pub runtime: String,
    /// The library.
    pub library: Library,
    /// Whether requests inside are seen.
    pub is_visible: bool,
    /// How many of how many had the right other end. None where the other end is not seen either.
    pub joined: Option<(usize, usize)>,
}

/// A TLS library as it is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name and version, as far as its file says.
    pub name: String,
    /// How the program comes by it.
    pub linking: String,
}

impl Library {
    /// Returns the library in a file that is mapped by a process, by a part of the file's name.
    pub fn of_process(id: u32, part: &str) -> Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{id}/maps"))?;
        let files: BTreeSet<(&str, PathBuf)> = maps.lines().filter_map(|line| file(id, line)).collect();
        let named = |part: &str| files.iter().find(|(path, _)| name_of(path).contains(part));
        let (path, opened) =
            named(part).with_context(|| format!("process {id} has no file `{part}`: {files:?}"))?;
        let version = version(opened)?.or_else(|| {
            let (_, beside) = named(&part.replace("libssl", "libcrypto"))?;
            version(beside).ok().flatten()
        });
        let executable = fs::read_link(format!("/proc/{id}/exe"))?;
        Ok(Self::new(path, version, executable == Path::new(path)))
    }

    /// Returns the library in a file with which a program is linked, or in the program.
    pub fn of_file(path: &Path) -> Result<Self> {
        let real = path.canonicalize()?;
        let shown = real.display().to_string();
        let version = version(&real)?.or_else(|| {
            let beside = path.display().to_string().replace("libssl", "libcrypto");
            version(Path::new(&beside)).ok().flatten()
        });
        Ok(Self::new(&shown, version, false))
    }

    fn new(path: &str, version: Option<String>, is_executable: bool) -> Self {
        let name = name_of(path);
        let is_shared = ["libssl", "libgnutls"].iter().any(|start| name.starts_with(start));
        let linking = if is_executable {
            "static, in the executable".to_owned()
        } else if path.ends_with(" (deleted)") {
            format!("static, in {}, which is deleted", stable(name))
        } else if !is_shared {
            format!("static, in {}", stable(name))
        } else if path.starts_with("/usr/lib") || path.starts_with("/lib") {
            "shared, the system's".to_owned()
        } else {
            "shared, the program's own".to_owned()
        };
        let gnutls = name.starts_with("libgnutls").then(|| "GnuTLS".to_owned());
        Self { name: version.or(gnutls).unwrap_or_else(|| "BoringSSL".to_owned()), linking }
    }

    /// Returns the library in a program that is not running.
    pub fn of_program(path: &Path) -> Result<Self> {
        Ok(Self::new(&path.display().to_string(), version(path)?, true))
    }

    /// Returns a library of which no file tells.
    #[must_use]
    pub fn named(name: &str, linking: &str) -> Self {
        Self { name: name.to_owned(), linking: linking.to_owned() }
    }

    /// Returns its name without the version.
    fn kind(&self) -> &str {
        self.name.split(|letter: char| letter.is_ascii_digit()).next().unwrap_or_default().trim_end()
    }
}

fn file(id: u32, line: &str) -> Option<(&str, PathBuf)> {
    let (range, rest) = line.split_once(' ')?;
    let path = rest.get(rest.find('/')?..)?;
    // There, numbers have no zeros before them.
    let (start, end) = range.split_once('-')?;
    let [start, end] = [start, end].map(|address| address.trim_start_matches('0'));
    rest.contains("xp ").then(|| (path, PathBuf::from(format!("/proc/{id}/map_files/{start}-{end}"))))
}

fn name_of(path: &str) -> &str {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns a file's name without what differs from one build or run to the next.
fn stable(name: &str) -> String {
    let name = name.split("_linux").next().unwrap_or(name);
    let end = name.find(|letter: char| letter.is_ascii_digit()).unwrap_or(name.len());
    name.get(..end)
        .unwrap_or(name)
        .split(".so")
        .next()
        .unwrap_or(name)
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// Returns what a file says about the version of OpenSSL, Go or rustls in it.
fn version(path: &Path) -> Result<Option<String>> {
    let opened = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut bytes = vec![0; usize::try_from(opened.metadata()?.len())?];
    opened.read_exact_at(&mut bytes, 0)?;
    let openssl = [b"OpenSSL 1.", b"OpenSSL 3.", b"OpenSSL 4."].iter().find_map(|start| {
        bytes.windows(start.len()).enumerate().filter(|(_, found)| found == *start).find_map(|(at, _)| {
            let text =
                std::str::from_utf8(bytes.get(at..at + 24)?.split(|byte| *byte == b' ').nth(1)?).ok()?;
            (text.matches('.').count() == 2).then(|| format!("OpenSSL {text}"))
        })
    });
    let go = || {
        let start = b"\xff Go buildinf:";
        let at = bytes.windows(start.len()).position(|found| found == start)?;
        let length = usize::from(*bytes.get(at + 32)?);
        let text = std::str::from_utf8(bytes.get(at + 33..at + 33 + length)?).ok()?;
        Some(format!("Go crypto/tls {}", text.trim_start_matches("go").split(' ').next()?))
    };
    let rustls = || {
        // Where its sources were, for messages of panics; hyper-rustls and tokio-rustls are other names.
        let start = b"/rustls-0.";
        let at = bytes.windows(start.len()).position(|found| found == start)? + "/rustls-".len();
        let text = std::str::from_utf8(bytes.get(at..at + 12)?.split(|byte| *byte == b'/').next()?).ok()?;
        Some(format!("rustls {text}"))
    };
    Ok(openssl.or_else(go).or_else(rustls))
}

impl Row {
    fn line(&self) -> String {
        let joined = self.joined.map_or_else(
            || "–".to_owned(),
            |(joined, of)| format!("{:.1} %", 100.0 * joined as f64 / of as f64),
        );
        let visible = if self.is_visible { "yes" } else { "no" };
        let Library { name, linking } = &self.library;
        format!("| {} | {} | {name} | {linking} | {visible} | {joined} |\n", self.program, self.runtime)
    }

    /// Checks that the page has this line but for percentages and versions, or puts it there if `UPDATE_EXPECT` is set.
    pub fn record(&self) -> Result<()> {
        println!("{}", self.line().trim_end());
        let path = locate::root().join("docs/tls.md");
        let page = fs::read_to_string(&path)?;
        if std::env::var_os(UPDATE).is_some() {
            return Ok(fs::write(&path, self.put(&page)?)?);
        }
        let known = line_of(&page, &self.program);
        let is_current = known.is_some_and(|line| self.agrees(line));
        ensure!(
            is_current,
            "docs/tls.md is out of date: run the test again with {UPDATE}=1\n  is: {}\n  was: {}",
            self.line().trim_end(),
            known.unwrap_or("missing")
        );
        Ok(())
    }

    /// Returns whether a line says the same.
    fn agrees(&self, line: &str) -> bool {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, program, runtime, library, linking, visible, _, _] = fields[..] else { return false };
        program == self.program
            && runtime == self.runtime
            && library.starts_with(self.library.kind())
            && linking == self.library.linking
            && visible == if self.is_visible { "yes" } else { "no" }
    }

    /// Returns the page with this line in its place.
    fn put(&self, page: &str) -> Result<String> {
        let (head, rest) = page.split_once(BEGIN).context("docs/tls.md has no table")?;
        let (table, tail) = rest.split_once(END).context("docs/tls.md has no end of the table")?;
        let (names, lines) = table.split_at(table.match_indices('\n').nth(1).context("no names")?.0 + 1);
        let others = lines.lines().filter(|line| program_of(line) != Some(&self.program));
        let mut lines: Vec<String> = others.map(|line| format!("{line}\n")).collect();
        lines.push(self.line());
        lines.sort_unstable();
        Ok(format!("{head}{BEGIN}{names}{}{END}{tail}", lines.concat()))
    }
}

fn line_of<'a>(page: &'a str, program: &str) -> Option<&'a str> {
    page.lines().find(|line| program_of(line) == Some(program))
}

fn program_of(line: &str) -> Option<&str> {
    line.strip_prefix("| ")?.split(" | ").next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(is_visible: bool, version: &str) -> Row {
        let library = Library::new("/usr/lib/libssl.so.3", Some(version.to_owned()), false);
        Row { program: "curl".into(), runtime: "C".into(), library, is_visible, joined: Some((1, 3)) }
    }

    #[test]
    fn a_line_takes_its_place_and_is_compared_without_its_figures() {
        let page =
            format!("Head\n{BEGIN}| program | … |\n|---|---|\n| ab | old |\n| wget | x |\n{END}Tail\n");
        let put = row(true, "OpenSSL 3.0.1").put(&page).unwrap();
        let line = "| curl | C | OpenSSL 3.0.1 | shared, the system's | yes | 33.3 % |";
        assert!(put.contains(&format!("| ab | old |\n{line}\n| wget | x |\n{END}Tail\n")), "{put}");
        assert_eq!(row(true, "OpenSSL 3.0.1").put(&put).unwrap(), put);
        assert!(row(true, "OpenSSL 4.0.3").agrees(line));
        assert!(!row(true, "GnuTLS").agrees(line));
        assert!(!row(false, "OpenSSL 3.0.1").agrees(line));
    }

    #[test]
    fn files_are_told_apart() {
        let linking = |path: &str, is_executable| Library::new(path, None, is_executable).linking;
        assert_eq!(linking("/usr/bin/node", true), "static, in the executable");
        assert_eq!(
            linking("/a/psycopg_binary.libs/libssl-6a9b88ec.so.3", false),
            "shared, the program's own"
        );
        assert_eq!(linking("/a/librdkafka-0cb94173.so.1", false), "static, in librdkafka");
        let deleted = "/tmp/libio_grpc_netty_shaded_netty_tcnative_linux_x86_6417.so (deleted)";
        assert!(linking(deleted, false).ends_with("netty_tcnative, which is deleted"));
        assert_eq!(Library::new("/usr/lib/libgnutls.so.30", None, false).name, "GnuTLS");
    }
}
