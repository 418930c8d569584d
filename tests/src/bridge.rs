//! The bridge's API, as far as the suites ask it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::span::Span;

/// A running bridge.
#[derive(Clone, Debug)]
pub struct Bridge {
    address: SocketAddr,
    /// `authorization` of every request.
    authorization: Option<String>,
}

impl Bridge {
    /// Returns the bridge that listens on `address`.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address, authorization: None }
    }

    /// Sends this token with every request.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self }
    }

    /// Returns the address of its API.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the spans of a trace; none where the bridge does not know it.
    pub fn trace(&self, trace_id: &str) -> Result<Vec<Span>> {
        let (status, answer) = self.get(&format!("/api/v1/traces/{trace_id}"))?;
        match status {
            200 => spans(trace_id, &answer).with_context(|| format!("read the trace {answer}")),
            404 => Ok(Vec::new()),
            _ => anyhow::bail!("GET trace {trace_id}: {status} {answer}"),
        }
    }

    /// Returns all spans of all traces with a span towards the server at `address`.
    pub fn spans_of_server(&self, address: SocketAddr) -> Result<Vec<Span>> {
        self.spans_with("server.port", &address.port().into())
    }

    /// Returns all spans of all traces with a span that has this attribute.
    pub fn spans_with(&self, key: &str, value: &Value) -> Result<Vec<Span>> {
        let mut found = Vec::new();
        for trace in self.search(json!({ "attributes": [{ "key": key, "op": "=", "value": value }] }))? {
            found.extend(self.trace(trace["trace_id"].as_str().context("a trace without id")?)?);
        }
        Ok(found)
    }

    /// Returns all traces that a search finds, over all pages, newest first.
    pub fn search(&self, mut question: Value) -> Result<Vec<Value>> {
        question["limit"] = 1000.into();
        let mut found = Vec::new();
        loop {
            let (status, mut answer) = self.post("/api/v1/traces/search", &question)?;
            anyhow::ensure!(status == 200, "search {question}: {status} {answer}");
            let traces = answer["traces"].as_array_mut().context("no traces in the answer")?;
            found.append(traces);
            match answer["next_cursor"].take() {
                Value::Null => return Ok(found),
                cursor => question["cursor"] = cursor,
            }
        }
    }

    /// Returns the status and the body of a GET.
    pub fn get(&self, path: &str) -> Result<(u16, Value)> {
        let mut request = agent().get(format!("http://{}{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        answer(request.call().with_context(|| format!("GET {path}"))?)
    }

    /// Returns the status and the body of a POST of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let mut request = agent().post(format!("http://{}{path}", self.address));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        answer(request.send_json(body).with_context(|| format!("POST {path}"))?)
    }
}

/// An HTTP client for which every status is an answer.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<(u16, Value)> {
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string()?;
    // An answer without a body, or one for people, is kept as text.
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}

fn spans(trace_id: &str, trace: &Value) -> Result<Vec<Span>> {
    let spans = trace["spans"].as_array().context("no spans")?;
    spans.iter().map(|span| read_span(trace_id, span, &trace["resources"])).collect()
}

fn read_span(trace_id: &str, span: &Value, resources: &Value) -> Result<Span> {
    let text = |value: &Value, name: &str| {
        value[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"))
    };
    let resource = span["resource"].as_u64().and_then(|index| resources.get(usize::try_from(index).ok()?));
    Ok(Span {
        trace_id: trace_id.to_owned(),
        span_id: text(span, "span_id")?,
        parent_id: span["parent_span_id"].as_str().map(str::to_owned),
        name: text(span, "name")?,
        kind: text(span, "kind")?,
        service: text(span, "service")?,
        status: text(&span["status"], "code")?,
        start_ns: text(span, "start_time_unix_nano")?.parse()?,
        end_ns: text(span, "end_time_unix_nano")?.parse()?,
        attributes: object(&span["attributes"]),
        resource: object(&resource.context("no resource")?["attributes"]),
        links: span["links"].as_array().into_iter().flatten().filter_map(linked).collect(),
    })
}

fn linked(link: &Value) -> Option<String> {
    link["span_id"].as_str().map(str::to_owned)
}

fn object(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}
