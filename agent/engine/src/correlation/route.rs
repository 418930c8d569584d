//! Paths become route templates, of which a service has only so many.

use std::collections::HashMap;

/// Routes of one service. Any further path is named by its verb alone.
const MAX_ROUTES: usize = 500;
/// Different texts at one place of a path. From there on all are parameters but those that came often before.
const MAX_TEXTS: usize = 60;
/// How often a text must have come to be a word of the API for good (`/health`), whatever comes at its place later.
const MIN_SIGHTINGS: u32 = 10;
/// Segments of a path that are told apart.
const MAX_SEGMENTS: usize = 12;
/// Services whose routes are remembered.
const MAX_SERVICES: usize = 4_096;

/// The port that a service listens on, or the name of its Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServiceKey(pub(super) u32, pub(super) String);

/// The routes of all services.
#[derive(Debug, Default)]
pub(super) struct Routes {
    services: HashMap<ServiceKey, Service>,
}

#[derive(Debug, Default)]
struct Service {
    /// Texts that were seen behind each beginning of a path.
    texts: HashMap<String, Texts>,
    routes: usize,
}

#[derive(Debug, Default)]
struct Texts {
    seen: Vec<Seen>,
    is_parameter: bool,
}

#[derive(Debug)]
struct Seen {
    text: String,
    sightings: u32,
}

impl Routes {
    /// Returns the template of a path: `/users/42/orders` gives `/users/{id}/orders`. None where the service has too
    /// many of them.
    pub(super) fn template(&mut self, service: ServiceKey, path: &str) -> Option<String> {
        if self.services.len() >= MAX_SERVICES && !self.services.contains_key(&service) {
            return None;
        }
        let service = self.services.entry(service).or_default();
        let mut template = String::with_capacity(path.len());
        for (index, segment) in path.split('/').skip(1).enumerate() {
            if index == MAX_SEGMENTS {
                template.push_str("/*");
                break;
            }
            let name = service.name(&template, segment)?;
            template.push('/');
            template.push_str(name);
        }
        Some(if template.is_empty() { "/".to_owned() } else { template })
    }
}

impl Service {
    fn name<'a>(&mut self, beginning: &str, segment: &'a str) -> Option<&'a str> {
        if is_identifier(segment) {
            return Some("{id}");
        }
        if !self.texts.contains_key(beginning) {
            if self.texts.len() >= MAX_ROUTES {
                return None;
            }
            self.texts.insert(beginning.to_owned(), Texts::default());
        }
        let texts = self.texts.get_mut(beginning)?;
        if let Some(seen) = texts.seen.iter_mut().find(|seen| seen.text == segment) {
            seen.sightings = seen.sightings.saturating_add(1);
            return Some(segment);
        }
        if texts.is_parameter {
            return Some("{value}");
        }
        if texts.seen.len() >= MAX_TEXTS {
            texts.is_parameter = true;
            texts.seen.retain(|seen| seen.sightings >= MIN_SIGHTINGS);
            return Some("{value}");
        }
        if self.routes >= MAX_ROUTES {
            return None;
        }
        self.routes += 1;
        texts.seen.push(Seen { text: segment.to_owned(), sightings: 1 });
        Some(segment)
    }
}

/// Returns whether a segment is more likely a value than a word of the API: numbers, UUIDs, hashes, tokens, dates,
/// e-mail addresses.
pub(super) fn is_identifier(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return segment.contains('@') || segment.contains('%') || segment.len() > 40;
    }
    let is_version = segment.len() <= 4 && segment.starts_with(['v', 'V']) && digits + 1 == segment.len();
    if is_version {
        return false;
    }
    let letters = segment.bytes().filter(u8::is_ascii_alphabetic).count();
    let is_hexadecimal = segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    digits + 4 >= segment.len()
        || letters == 0
        || (is_hexadecimal && segment.len() >= 8)
        || digits * 3 >= segment.len()
        || segment.len() > 24
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let template = Routes::default().template(ServiceKey(80, String::new()), path);
        assert_eq!(template.as_deref(), Some(expected), "{path}");
    }

    #[test]
    fn values_become_parameters() {
        check("/", "/");
        check("", "/");
        check("/users/42", "/users/{id}");
        check("/api/v1/users/42/orders", "/api/v1/users/{id}/orders");
        check("/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/o/{id}");
        check("/blob/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/blob/{id}");
        check("/day/2026-11-21", "/day/{id}");
        check("/mail/a@example.org/x", "/mail/{id}/x");
        check("/users/u-7", "/users/{id}");
        check("/static/app.js", "/static/app.js");
        check("/a//b/", "/a//b/");
        check(
            "/one/two/three/four/five/six/seven/eight/nine/ten/eleven/twelve/more",
            "/one/two/three/four/five/six/seven/eight/nine/ten/eleven/twelve/*",
        );
    }

    #[test]
    fn many_texts_at_one_place_become_a_parameter() {
        let mut routes = Routes::default();
        let mut seen = std::collections::HashSet::new();
        for index in 0..10_000u32 {
            let word: String =
                index.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            seen.insert(routes.template(ServiceKey(80, String::new()), &format!("/shop/{word}/view")));
        }
        assert_eq!(seen.len(), MAX_TEXTS + 1);
        assert!(seen.contains(&Some("/shop/{value}/view".to_owned())));
    }

    #[test]
    fn words_that_came_often_stay_words_among_values() {
        let mut routes = Routes::default();
        let mut name = |path: &str| routes.template(ServiceKey(80, String::new()), path);
        for _ in 0..MIN_SIGHTINGS {
            name("/health");
            name("/api/orders");
        }
        name("/rare");
        let letters = |number: u32| -> String {
            number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
        };
        for number in 0..1_000 {
            name(&format!("/{}", letters(number)));
        }
        for (path, expected) in [
            ("/health", "/health"),
            ("/api/orders", "/api/orders"),
            ("/rare", "/{value}"),
            ("/new", "/{value}"),
        ] {
            assert_eq!(name(path).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_service_has_only_so_many_routes() {
        let mut routes = Routes::default();
        let letters = |number: u32| -> String {
            number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
        };
        let mut seen = std::collections::HashSet::new();
        for one in 0..50 {
            for two in 0..50 {
                let path = format!("/{}/{}/{}", letters(one), letters(two), letters(two + one));
                seen.insert(routes.template(ServiceKey(80, String::new()), &path));
            }
        }
        assert!(seen.contains(&None));
        assert!(seen.len() <= MAX_ROUTES + 1, "{}", seen.len());
    }
}
