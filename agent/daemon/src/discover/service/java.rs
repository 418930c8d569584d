//! Java: a property that names the service, the archive (`java -jar shop-1.4.2.jar` is `shop`), or the main class.

use super::Program;
use super::path::{first_operand, stem};
use crate::discover::process::NameSource;

/// Properties that name the service.
const PROPERTIES: &[&str] =
    &["-Dotel.service.name=", "-Dspring.application.name=", "--spring.application.name="];

/// Main classes of well-known servers.
const SERVERS: &[(&str, &str)] = &[
    ("kafka.Kafka", "kafka"),
    ("org.apache.catalina.startup.Bootstrap", "tomcat"),
    ("org.apache.cassandra.service.CassandraDaemon", "cassandra"),
    ("org.apache.zookeeper.server.quorum.QuorumPeerMain", "zookeeper"),
    ("org.elasticsearch.bootstrap.Elasticsearch", "elasticsearch"),
    ("org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch", "elasticsearch"),
    ("org.opensearch.bootstrap.OpenSearch", "opensearch"),
    ("org.jboss.modules.Main", "wildfly"),
];

/// Returns the name of what the virtual machine runs.
pub(super) fn name(program: Program<'_>) -> Option<(String, NameSource)> {
    let arguments = program.arguments;
    let property =
        arguments.iter().find_map(|argument| PROPERTIES.iter().find_map(|name| argument.strip_prefix(name)));
    if let Some(name) = property.filter(|name| !name.is_empty()) {
        return Some((name.to_owned(), NameSource::Argument));
    }
    let main = first_operand(arguments, 1, takes_value)?;
    let word = arguments.get(main)?;
    let is_archive = main > 1 && arguments.get(main - 1).is_some_and(|option| option == "-jar");
    let name = if is_archive { without_version(stem(word, &[".jar", ".war"])) } else { class_name(word) };
    (!name.is_empty()).then(|| (name.to_owned(), NameSource::Application))
}

fn takes_value(option: &str) -> bool {
    let values = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-opens",
        "--add-exports",
        "--add-reads",
        "--patch-module",
        "--limit-modules",
        "--source",
        "--enable-native-access",
        "--describe-module",
    ];
    values.contains(&option)
}

fn class_name(class: &str) -> &str {
    // `java Shop.java` compiles and runs a source file.
    if class.ends_with(".java") {
        return stem(class, &[".java"]);
    }
    if let Some((_, name)) = SERVERS.iter().find(|(main, _)| *main == class) {
        return name;
    }
    class.rsplit(['.', '/']).next().unwrap_or(class)
}

/// Cuts what looks like a version from an archive's name: `shop-1.4.2-SNAPSHOT` is `shop`.
fn without_version(archive: &str) -> &str {
    let starts_version = |at: usize| {
        let rest = archive.get(at + 1..).unwrap_or_default();
        let mut characters = rest.trim_start_matches('v').chars();
        characters.next().is_some_and(|first| first.is_ascii_digit()) && rest.contains('.')
    };
    let cut = archive.match_indices('-').map(|(at, _)| at).find(|&at| at > 0 && starts_version(at));
    cut.and_then(|at| archive.get(..at)).unwrap_or(archive)
}
