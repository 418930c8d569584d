//! What spans say about where they are from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use remora_tests::span::Span;
use remora_tests::wait;
use serde_json::Value;

use crate::node;
use crate::pods::{Pod, Pods};
use crate::site::{SERVICES, Site, WITHIN, is_whole, is_whole_until};

/// Requests that are answered between two events.
const SOME: usize = 50;

/// One request is one trace of three services, and every span says where it is from and who was asked.
pub(crate) fn check_trace(site: &Site) -> Result<()> {
    let (pods, since) = (Pods::watch(&site.node)?, SystemTime::now());
    let spans = wait::until("a trace of all services", WITHIN, || {
        site.ask()?;
        Ok(site.traces(since)?.into_iter().find(|spans| is_whole(spans)))
    })?;
    let pods = pods.all()?;
    check_origins(&spans, &pods)?;
    let shop = || spans.iter().filter(|span| SERVICES.contains(&&*span.service));
    let calls: BTreeSet<_> = shop()
        .filter(|span| span.kind == "client" && span.text("http.request.method").is_some())
        .map(|span| (&*span.service, span.text("service.peer.name").unwrap_or("nobody")))
        .collect();
    ensure!(calls == BTreeSet::from([("gateway", "orders"), ("orders", "stock")]), "{calls:?}");
    let stock = shop().find(|span| span.service == "stock").context("no span of the last service")?;
    ensure!(depth(stock, &spans) == 4, "not five spans below each other: {spans:#?}");
    Ok(())
}

/// Returns how many spans are above a span.
fn depth(span: &Span, spans: &[Span]) -> usize {
    let parent = spans.iter().find(|other| Some(&other.span_id) == span.parent_id.as_ref());
    parent.map_or(0, |parent| 1 + depth(parent, spans))
}

/// The map knows services by their names, and no address.
pub(crate) fn check_map(site: &Site) -> Result<()> {
    wait::until("the map has all calls", WITHIN, || {
        let (status, map) = site.bridge.get("/api/v1/traces/dependencies?since=1h")?;
        ensure!(status == 200, "{status} {map}");
        let edges = map["edges"].as_array().context("no edges")?;
        let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let edges: BTreeSet<_> =
            edges.iter().map(|edge| (name(&edge["caller"]), name(&edge["callee"]))).collect();
        let wanted = [("gateway", "orders"), ("orders", "stock")];
        let of_shop = edges.iter().filter(|(caller, _)| SERVICES.contains(&&**caller));
        let nameless: Vec<_> = of_shop.filter(|(_, callee)| callee.starts_with("10.")).collect();
        ensure!(nameless.is_empty(), "addresses instead of names: {nameless:?}");
        let has = |wanted: &(&str, &str)| edges.contains(&(wanted.0.to_owned(), wanted.1.to_owned()));
        Ok(wanted.iter().all(has).then_some(()))
    })
}

/// Pods are deleted while requests are under way: others take their place, and no span has a name that is not its own.
pub(crate) fn check_pods_that_come_and_go(site: &Site) -> Result<()> {
    let (pods, since) = (Pods::watch(&site.node)?, SystemTime::now());
    let (answered, failed, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let count = if site.ask().is_ok() { &answered } else { &failed };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let replaced = replace_pods(site, &pods, &answered);
        is_over.store(true, Ordering::Relaxed);
        replaced
    })?;
    let answered = answered.into_inner();
    let traces = wait::until("the traces of all requests", WITHIN, || {
        let traces = site.traces(since)?;
        let whole = traces.iter().filter(|spans| is_whole(spans)).count();
        ensure!(
            whole >= answered,
            "{answered} requests were answered, {whole} whole traces of {}",
            traces.len()
        );
        Ok(Some(traces))
    })?;
    let all = pods.all()?;
    traces.iter().try_for_each(|spans| check_origins(spans, &all))?;
    let seen: BTreeSet<_> =
        traces.iter().flatten().filter_map(|span| span.resource.get("k8s.pod.name")?.as_str()).collect();
    let unseen: Vec<_> = all.keys().filter(|name| !seen.contains(name.as_str())).collect();
    ensure!(unseen.is_empty(), "pods without a span: {unseen:?}");
    println!(
        "{answered} requests answered and {} not, over {} pods: {} traces",
        failed.into_inner(),
        all.len(),
        traces.len()
    );
    Ok(())
}

/// A pod that asks to be left alone is, from then on until it does no more, and without being started again.
pub(crate) fn check_pods_that_want_to_be_left_alone(site: &Site) -> Result<()> {
    let annotate = |value: &str| {
        let value = format!("remora.dev/trace{value}");
        site.node.kubectl(&["-n", "shop", "annotate", "pod", "--selector", "app=stock", &value])
    };
    let since = SystemTime::now();
    annotate("=false")?;
    let mut alone_from = 0;
    wait::until("a trace without the last service", WITHIN, || {
        site.ask()?;
        let traces = site.traces(since)?;
        let without = traces.iter().find(|spans| is_whole_until(spans, 2));
        alone_from =
            without.map_or(0, |spans| spans.iter().map(|span| span.end_ns).max().unwrap_or_default());
        Ok(without.map(drop))
    })?;
    let before = site.traces(since)?.len();
    (0..SOME).try_for_each(|_| site.ask())?;
    wait::until("the traces of further requests", WITHIN, || {
        Ok((site.traces(since)?.iter().filter(|spans| is_whole_until(spans, 2)).count() > SOME).then_some(()))
    })?;
    let traces = site.traces(since)?;
    ensure!(traces.len() >= before + SOME, "{before} traces, then {}", traces.len());
    let is_late = |span: &&Span| span.service == "stock" && span.start_ns > alone_from;
    let observed = traces.iter().flatten().find(is_late);
    ensure!(observed.is_none(), "it is not left alone: {observed:#?}");
    annotate("-")?;
    wait::until("a trace of all services again", WITHIN, || {
        site.ask()?;
        Ok(site.traces(since)?.iter().flatten().find(is_late).map(drop))
    })
}

/// Replaces every pod of the shop, one after the other, each while some requests are answered.
fn replace_pods(site: &Site, pods: &Pods, answered: &AtomicUsize) -> Result<()> {
    for pod in pods.all()?.into_values() {
        wait_for_requests(answered)?;
        site.node.kubectl(&["-n", "shop", "delete", "pod", &pod.name, "--grace-period=1"])?;
        site.wait_rolled_out()?;
    }
    wait_for_requests(answered)
}

fn wait_for_requests(answered: &AtomicUsize) -> Result<()> {
    let wanted = answered.load(Ordering::Relaxed) + SOME;
    wait::until("requests are answered", WITHIN, || {
        Ok((answered.load(Ordering::Relaxed) >= wanted).then_some(()))
    })
}

/// Every span of the shop names the pod whose container made it, and its caller the pod whose address it has.
fn check_origins(spans: &[Span], pods: &BTreeMap<String, Pod>) -> Result<()> {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (&span.span_id, span)).collect();
    for span in spans.iter().filter(|span| SERVICES.contains(&&*span.service)) {
        check_origin(span, pods).with_context(|| format!("{span:#?}"))?;
        let parent = span.parent_id.as_ref().and_then(|id| by_id.get(id));
        if let (Some(parent), "server", Some(address)) = (parent, &*span.kind, span.text("client.address")) {
            let caller = check_origin(parent, pods)?;
            ensure!(
                caller.address == address,
                "asked from {address}, not by {caller:?}: {span:#?} below {parent:#?}"
            );
        }
    }
    Ok(())
}

fn check_origin<'a>(span: &Span, pods: &'a BTreeMap<String, Pod>) -> Result<&'a Pod> {
    let text =
        |key: &str| span.resource.get(key).and_then(Value::as_str).with_context(|| format!("no {key}"));
    let pod = pods.get(text("k8s.pod.name")?).context("a pod that does not exist")?;
    let set = pod.name.rsplit_once('-').map_or("", |(set, _)| set);
    let wanted = [
        ("service.name", &*pod.app),
        ("service.namespace", "shop"),
        ("host.name", node::NAME),
        ("container.id", &pod.container),
        ("k8s.node.name", node::NAME),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.uid", &pod.uid),
        ("k8s.replicaset.name", set),
        ("k8s.deployment.name", &pod.app),
    ];
    for (key, wanted) in wanted {
        ensure!(text(key)? == wanted, "{key} is {} and not {wanted}", text(key)?);
    }
    // The first requests may come before the agent has heard that the service has the pod.
    let service = text("k8s.service.name").unwrap_or(&pod.app);
    ensure!(service == pod.app, "k8s.service.name is {service} and not {}", pod.app);
    Ok(pod)
}
