//! A small shop: web → checkout → PostgreSQL (traced) and Redis (not), some requests failing.

use crate::otlp::{Int, Kind, MS, START_S, TestSpan, span, text};

/// Ten requests, one each second, the trace ids 1 to 10. The third and the sixth fail.
pub(crate) fn spans() -> Vec<TestSpan> {
    (1..=10).flat_map(request).collect()
}

/// The range of the shop, to be put behind a `?`.
pub(crate) fn range() -> String {
    format!("from={START_S}&until={}", START_S + 60)
}

pub(crate) fn is_failing(number: u64) -> bool {
    matches!(number, 3 | 6)
}

/// Six spans of one request, which takes `number` · 10 ms.
pub(crate) fn request(number: u64) -> Vec<TestSpan> {
    let trace = u128::from(number);
    let base = number * 1_000 * MS;
    let whole = number * 10 * MS;
    let code = if is_failing(number) { 503 } else { 200 };
    let mut spans = vec![
        span("web", trace, 1, "POST /orders").kind(Kind::Server).at(base, whole),
        span("web", trace, 2, "POST").kind(Kind::Client).below(1).at(base + MS, whole - 2 * MS),
        span("checkout", trace, 3, "POST /orders/{id}")
            .kind(Kind::Server)
            .below(2)
            .at(base + 2 * MS, whole - 4 * MS),
        span("checkout", trace, 4, "INSERT orders").kind(Kind::Client).below(3).at(base + 3 * MS, 2 * MS),
        span("postgres", trace, 5, "INSERT orders").kind(Kind::Server).below(4).at(base + 3 * MS, MS),
        span("checkout", trace, 6, "GET").kind(Kind::Client).below(3).at(base + 5 * MS, MS),
    ];
    for one in &mut spans[..3] {
        *one = one.clone().with("http.response.status_code", Int(code));
        if is_failing(number) {
            *one = one.clone().failed(if one.service == "checkout" { "out of stock" } else { "" });
        }
    }
    for one in &mut spans[3..5] {
        *one = one.clone().with("db.system.name", text("postgresql")).with("db.namespace", text("shop"));
    }
    spans[3] = spans[3].clone().with("server.address", text("127.0.0.1")).with("server.port", Int(5432));
    spans[5] = spans[5].clone().with("db.system.name", text("redis")).with("server.address", text("cache"));
    spans
}
