use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Names a command line, words separated by blanks, whose executable is the first word, in the folder `/srv/shop`.
fn named(executable: &str, command_line: &str) -> (String, NameSource) {
    named_in(executable, command_line, b"", None)
}

fn named_in(
    executable: &str,
    command_line: &str,
    environ: &[u8],
    root: Option<&Root>,
) -> (String, NameSource) {
    let arguments: Vec<String> = command_line.split(' ').map(str::to_owned).collect();
    let executable = PathBuf::from(executable);
    name(Program {
        executable: Some(&executable),
        arguments: &arguments,
        comm: "comm",
        environment: &Environment::parse(environ),
        directory: Some(Path::new("/srv/shop")),
        root,
    })
}

fn check(executable: &str, table: &[(&str, &str)]) {
    for (command_line, expected) in table {
        assert_eq!(named(executable, command_line).0, *expected, "{command_line}");
    }
}

#[test]
fn python() {
    let table = [
        ("python3 billing.py --port 80", "billing"),
        ("python3 -u -W ignore -X dev /opt/jobs/billing.py", "billing"),
        ("python3 /srv/shop/manage.py runserver 0:8000", "shop"),
        ("python3 manage.py migrate", "shop"),
        ("python3 -m http.server 8000", "http.server"),
        ("python3 -mhttp.server", "http.server"),
        ("python3 -m shop.jobs.__main__", "shop.jobs"),
        ("python3 -u -m shop.jobs", "shop.jobs"),
        ("python3 -c print(1)", "python3.11"),
        ("python3", "python3.11"),
        ("python3 /usr/bin/gunicorn app:app", "app"),
        ("python3 /venv/bin/gunicorn -w 4 -b 0.0.0.0:8000 shop.wsgi:application", "shop"),
        ("python3 /venv/bin/gunicorn shop.wsgi:application -w 4 -b 0.0.0.0:8000", "shop"),
        ("python3 /venv/bin/gunicorn --bind unix:/run/x.sock shop:create_app()", "shop"),
        ("python3 /venv/bin/gunicorn -w 4 shop.wsgi", "shop"),
        ("python3 /venv/bin/uvicorn shop.main:app --host 0.0.0.0 --port 8000", "shop"),
        ("python3 -m uvicorn main:app --reload", "main"),
        ("python3 -m gunicorn cart:app", "cart"),
        ("python3 -m flask --app web run", "web"),
        ("python3 /venv/bin/flask run", "flask"),
        ("python3 /venv/bin/celery -A shop worker -l info", "shop-worker"),
        ("python3 -m celery --app=shop.celery_app:app beat", "shop.celery_app-beat"),
        ("python3 /venv/bin/opentelemetry-instrument gunicorn shop:app", "shop"),
        ("python3 /venv/bin/opentelemetry-instrument python3 billing.py", "billing"),
        ("gunicorn: master [shop.wsgi:application]", "shop"),
        ("gunicorn: worker [app]", "app"),
        ("python3 /venv/bin/my-tool serve", "my-tool"),
    ];
    check("/usr/bin/python3.11", &table);
    check(
        "/usr/bin/uwsgi",
        &[("uwsgi --http :8000 --module shop.wsgi:application", "shop"), ("uwsgi --ini x.ini", "uwsgi")],
    );
    let flask = named_in("/usr/bin/python3", "python3 -m flask run", b"FLASK_APP=web.py", None);
    assert_eq!(flask.0, "web");
}

#[test]
fn processes_of_multiprocessing_are_parts_of_what_made_them() {
    let is_part = |program: &str| {
        let words = ["/venv/bin/python", "-B", "-c", program, "--multiprocessing-fork"];
        is_part(&words.map(str::to_owned))
    };
    assert!(is_part("from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5, pipe_handle=7)"));
    assert!(is_part("from multiprocessing.forkserver import main; main(4, 5, ['__main__'], **{})"));
    assert!(!is_part("import multiprocessing"));
}

#[test]
fn node_without_package_json() {
    let table = [
        ("node billing.js", "billing"),
        ("node --inspect=0.0.0.0:9229 -r ./tracing.js /opt/billing.mjs", "billing"),
        ("node /srv/shop/index.js", "shop"),
        ("node dist/main.js", "shop"),
        ("node --enable-source-maps .", "shop"),
        ("node -e setInterval(()=>{},9)", "node"),
        ("node", "node"),
    ];
    check("/usr/bin/node", &table);
    check("/usr/bin/deno", &[("deno run --allow-net server.ts", "shop")]);
}

#[test]
fn node_by_the_nearest_package_json() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("srv/shop/package.json", r#"{"name": "@acme/cart", "version": "1.0.0"}"#);
    write("srv/shop/esm/package.json", r#"{"type": "module"}"#);
    write("srv/shop/node_modules/next/package.json", r#"{"name": "next"}"#);
    write("usr/lib/node_modules/npm/package.json", r#"{"name": "npm"}"#);
    write("srv/broken/package.json", "{");
    let root = Root::at(folder.path()).unwrap();
    let table = [
        ("node dist/index.js", "@acme/cart"),
        ("node esm/index.js", "@acme/cart"),
        ("node /srv/shop/node_modules/.bin/next start", "@acme/cart"),
        ("node /usr/lib/node_modules/npm/bin/npm-cli.js start", "npm"),
        ("node /srv/broken/api.js", "api"),
        ("next-server (v14.2.3)", "@acme/cart"),
    ];
    for (command_line, expected) in table {
        assert_eq!(named_in("/usr/bin/node", command_line, b"", Some(&root)).0, expected, "{command_line}");
    }
}

#[test]
fn java() {
    let table = [
        ("java -Xmx1g -jar /opt/shop-1.4.2.jar --server.port=80", "shop"),
        ("java -jar shop-service-2.0.0-SNAPSHOT.jar", "shop-service"),
        ("java -jar app.war", "app"),
        ("java -jar log4j-over-slf4j.jar", "log4j-over-slf4j"),
        ("java -cp lib/*:. -Dx=y com.example.shop.ShopApplication arg", "ShopApplication"),
        ("java --module-path mods -m com.example/com.example.Main", "Main"),
        ("java -cp x --add-opens java.base/java.lang=ALL-UNNAMED kafka.Kafka server.properties", "kafka"),
        ("java src/Shop.java 8080", "Shop"),
        ("java -version", "java"),
    ];
    check("/usr/lib/jvm/java-17/bin/java", &table);
    let by_property = named("/usr/bin/java", "java -Dotel.service.name=orders -jar shop.jar");
    assert_eq!(by_property, ("orders".to_owned(), NameSource::Argument));
    assert_eq!(named("/usr/bin/java", "java -jar shop.jar --spring.application.name=cart").0, "cart");
}

#[test]
fn ruby_php_dotnet_and_shells() {
    let ruby = [
        ("ruby billing.rb", "billing"),
        ("ruby -r bundler/setup bin/rails server", "shop"),
        ("puma 5.6.5 (tcp://0.0.0.0:9292) [cart]", "cart"),
        ("puma: cluster worker 0: 12 [cart]", "cart"),
        ("ruby /usr/bin/sidekiq", "shop"),
    ];
    check("/usr/bin/ruby3.1", &ruby);
    check("/usr/bin/php8.2", &[("php artisan serve", "shop"), ("php -S 0:80 router.php", "router")]);
    check("/usr/sbin/php-fpm8.2", &[("php-fpm: pool www", "php-fpm")]);
    check("/usr/bin/dotnet", &[("dotnet Shop.Api.dll", "Shop.Api"), ("dotnet exec --x y Cart.dll", "Cart")]);
    check(
        "/usr/bin/bash",
        &[("bash ./deploy.sh prod", "deploy"), ("bash -c curl", "bash"), ("-bash", "bash")],
    );
    check(
        "/usr/lib/erlang/bin/beam.smp",
        &[("beam.smp -- -sname shop@host", "shop"), ("beam.smp -W w -s rabbit boot", "rabbitmq")],
    );
}

#[test]
fn native_programs_are_called_by_their_file() {
    let table = [
        ("/usr/sbin/nginx", "nginx: master process /usr/sbin/nginx -g daemon off;", "nginx"),
        ("/usr/lib/postgresql/15/bin/postgres", "postgres: shop shop 127.0.0.1(4711) SELECT", "postgres"),
        ("/usr/bin/redis-server", "redis-server 127.0.0.1:6379", "redis-server"),
        ("/bin/busybox", "wget -q http://x", "wget"),
        ("/srv/shop/bin/cart", "/srv/shop/bin/cart --port 80", "cart"),
    ];
    for (executable, command_line, expected) in table {
        assert_eq!(named(executable, command_line), (expected.to_owned(), NameSource::Executable));
    }
}

#[test]
fn the_environment_comes_first() {
    let both = b"OTEL_SERVICE_NAME=a\0OTEL_RESOURCE_ATTRIBUTES=service.name=b\0";
    assert_eq!(
        named_in("/usr/bin/node", "node x.js", both, None),
        ("a".to_owned(), NameSource::EnvironmentName)
    );
    let attributes = &both[20..];
    assert_eq!(named_in("/x", "x", attributes, None), ("b".to_owned(), NameSource::EnvironmentAttributes));
}

#[test]
fn a_name_is_never_empty_nor_endless() {
    let nothing = Program {
        executable: None,
        arguments: &[],
        comm: "",
        environment: &Environment::default(),
        directory: None,
        root: None,
    };
    assert_eq!(name(nothing), ("unknown_service".to_owned(), NameSource::Comm));
    let long = [format!("/bin/{}", "ä".repeat(500))];
    assert_eq!(name(Program { arguments: &long, ..nothing }).0.len(), 254);
    let hostile = ["/bin/a\u{1b}[2Jb".to_owned()];
    assert_eq!(name(Program { arguments: &hostile, ..nothing }).0, "a[2Jb");
}

#[test]
fn no_command_line_makes_it_fail() {
    let words = [
        "",
        "-",
        "--",
        "-m",
        "-c",
        "-jar",
        "-A",
        "--app",
        "run",
        "[",
        "]",
        ":",
        "gunicorn: ",
        "/",
        ".",
        "..",
        "-cp",
        "puma ",
    ];
    let executables = [
        "python3", "node", "deno", "java", "ruby", "php", "dotnet", "bash", "beam.smp", "uwsgi", "gunicorn",
        "",
    ];
    for executable in executables {
        for first in words {
            for second in words {
                let name = named(&format!("/bin/{executable}"), &format!("{executable} {first} {second}")).0;
                assert!(!name.is_empty());
                let name = named(&format!("/bin/{executable}"), first).0;
                assert!(!name.is_empty());
            }
        }
    }
}

#[test]
fn a_program_is_named_after_the_link_it_was_called_by() {
    let named = |comm, argument: &str| {
        let executable = PathBuf::from("/usr/bin/redis-check-rdb");
        name(Program {
            executable: Some(&executable),
            arguments: &[argument.to_owned()],
            comm,
            environment: &Environment::parse(b""),
            directory: None,
            root: None,
        })
        .0
    };
    assert_eq!(named("redis-server", "redis-server *:6379"), "redis-server");
    assert_eq!(named("redis-server", "/usr/bin/redis-server"), "redis-server");
    assert_eq!(named("worker", "redis-server"), "redis-check-rdb", "a name that the program gave itself");
    assert_eq!(named("a-very-long-nam", "a-very-long-name"), "a-very-long-name");
}
