//! Spans of one trace → a forest, with what is missing or doubtful in it flagged.
//!
//! It never guesses: a span hangs below the span that it names, or below the one whose request it received by positions
//! on the wire, or starts a tree.

mod category;
mod cycles;
mod position;
mod settle;
mod skew;
mod sources;

use std::collections::{HashMap, HashSet};

pub use settle::{Settled, settled};

use crate::model::{Completeness, Span, SpanId, Trace, TraceId, TraceSpan, TraceSummary};

/// Returns the trace that these spans make, [settled]; none without a span. Spans of other traces must not be among them.
///
/// Order of the spans: by start, then longest first, then by id. Of spans with equal content one is kept; spans with
/// equal id and other content are all kept and flagged, and children hang below the first of them. Where requests between
/// hosts show that their clocks differ, all times are told by the clock of the host on which the trace begins.
#[must_use]
pub fn assemble(trace_id: TraceId, spans: Vec<Span>) -> Option<Trace> {
    let (spans, duplicates_removed) = unique(spans);
    let references: Vec<&Span> = spans.iter().collect();
    let settled = settled(&references);
    let Settled { mut spans, merged: doubles_merged } = settled.unwrap_or(Settled { spans, merged: 0 });
    let named = parents(&spans, &places(&spans));
    let clock_skews = skew::correct(&mut spans, &named);
    if !clock_skews.is_empty() {
        spans.sort_by_key(key);
    }
    let references: Vec<&Span> = spans.iter().collect();
    let summary = TraceSummary::of(&references)?;
    let places = places(&spans);
    let mut parents = parents(&spans, &places);
    let cuts = cut_cycles(&mut parents);
    let completeness = completeness(&spans, &places);
    let mut placed: Vec<TraceSpan> = spans
        .into_iter()
        .zip(&parents)
        .enumerate()
        .map(|(index, (span, parent))| TraceSpan {
            parent: *parent,
            children: Vec::new(),
            depth: 0,
            is_orphan: span.parent_span_id.is_some_and(|parent| !places.contains_key(&parent)),
            has_duplicate_id: places.get(&span.span_id).is_some_and(|places| places.len() > 1),
            is_cycle_cut: cuts.contains(&index),
            span,
        })
        .collect();
    let roots = link(&mut placed, &parents);
    Some(Trace {
        trace_id,
        spans: placed,
        roots,
        duplicates_removed,
        doubles_merged,
        clock_skews,
        completeness,
        summary,
    })
}

/// The order of the spans of a trace.
fn key(span: &Span) -> (u64, std::cmp::Reverse<u64>, SpanId) {
    (span.start_unix_ns, std::cmp::Reverse(span.end_unix_ns), span.span_id)
}

/// Returns the place of each span's parent.
fn parents(spans: &[Span], places: &HashMap<SpanId, Vec<usize>>) -> Vec<Option<usize>> {
    spans.iter().map(|span| span.parent_span_id.and_then(|parent| first_place(places, parent))).collect()
}

fn unique(mut spans: Vec<Span>) -> (Vec<Span>, u32) {
    spans.sort_by_key(key);
    let mut kept: Vec<Span> = Vec::with_capacity(spans.len());
    let mut removed = 0;
    for span in spans {
        // Equal spans have equal keys, so they are neighbours.
        if kept.iter().rev().take_while(|other| key(other) == key(&span)).any(|other| *other == span) {
            removed += 1;
        } else {
            kept.push(span);
        }
    }
    (kept, removed)
}

fn places(spans: &[Span]) -> HashMap<SpanId, Vec<usize>> {
    let mut places: HashMap<SpanId, Vec<usize>> = HashMap::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        places.entry(span.span_id).or_default().push(index);
    }
    places
}

fn first_place(places: &HashMap<SpanId, Vec<usize>>, id: SpanId) -> Option<usize> {
    places.get(&id).and_then(|places| places.first()).copied()
}

/// Removes one parent link of each cycle: that of its earliest span. Returns the spans that lost theirs.
fn cut_cycles(parents: &mut [Option<usize>]) -> HashSet<usize> {
    let cycles = cycles::find(parents);
    let cuts: HashSet<usize> = cycles.iter().filter_map(|cycle| cycle.iter().min().copied()).collect();
    for cut in &cuts {
        if let Some(parent) = parents.get_mut(*cut) {
            *parent = None;
        }
    }
    cuts
}

fn completeness(spans: &[Span], places: &HashMap<SpanId, Vec<usize>>) -> Completeness {
    let named: HashSet<SpanId> = spans.iter().filter_map(|span| span.parent_span_id).collect();
    let missing = named.iter().filter(|parent| !places.contains_key(parent)).count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Completeness { found: count(places.len()), expected: count(places.len() + missing) }
}

/// Fills children and depths; returns what starts a tree: true roots first.
fn link(placed: &mut [TraceSpan], parents: &[Option<usize>]) -> Vec<usize> {
    let mut roots = Vec::new();
    for (index, parent) in parents.iter().enumerate() {
        match parent.and_then(|parent| placed.get_mut(parent)) {
            Some(parent) => parent.children.push(index),
            None => roots.push(index),
        }
    }
    let mut waiting: Vec<(usize, u32)> = roots.iter().map(|root| (*root, 0)).collect();
    while let Some((index, depth)) = waiting.pop() {
        let Some(span) = placed.get_mut(index) else {
            continue;
        };
        span.depth = depth;
        waiting.extend(span.children.iter().map(|child| (*child, depth + 1)));
    }
    let is_detached =
        |index: &usize| placed.get(*index).is_some_and(|placed| placed.span.parent_span_id.is_some());
    roots.sort_by_key(is_detached);
    roots
}

#[cfg(test)]
mod tests;
