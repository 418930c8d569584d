//! Who is believed to be the cause, by what was named when.

use super::*;
use crate::protocol::Mark;

const ONE: ExchangeId = ExchangeId(1);
const TWO: ExchangeId = ExchangeId(2);
const P: u32 = 1;
const BACKGROUND: &[(u64, Weight)] = &[(77, Weight::Long)];

fn marks(found: &[(u64, Weight)]) -> Marks {
    let mut marks = Marks::default();
    found.iter().for_each(|&(hash, weight)| marks.add(Mark { hash, weight }));
    marks
}

fn partial() -> Marks {
    let found: Vec<_> = (1000..1009).map(|hash| (hash, Weight::Short)).collect();
    marks(&found)
}

/// Returns what a call is matched with, and the confidence; 1 stands for a parent.
fn ask(content: &mut Content, found: &[(u64, Weight)], is_alone: bool) -> Option<(u64, f64)> {
    let found = content.of_call(P, &marks(found), |_| is_alone)?;
    Some((found.server.0, found.confidence.unwrap_or(1.0)))
}

#[test]
fn an_id_that_one_request_brought_links_to_it() {
    use Weight::{Long, Short};
    let mut content = Content::new(ContentEvidence::Links);
    content.begin(ONE, P, marks(&[(5, Short), (6, Long)]));
    content.begin(TWO, P, marks(&[(7, Short)]));
    assert_eq!(ask(&mut content, &[(5, Short)], false), Some((1, 0.5)));
    assert_eq!(ask(&mut content, &[(6, Long)], false), Some((1, 0.9)));
    assert_eq!(ask(&mut content, &[(5, Short), (6, Short)], false), Some((1, 0.9)));
    assert_eq!(ask(&mut content, &[(7, Short)], true), Some((2, 1.0)), "nobody else can have asked");
    assert_eq!(ask(&mut content, &[(5, Short), (7, Short)], true), None, "either may be meant");
    assert_eq!(ask(&mut content, BACKGROUND, true), None);
    assert_eq!(content.of_call(P + 1, &marks(&[(5, Short)]), |_| true), None, "another process");
    content.end(ONE);
    assert_eq!(ask(&mut content, &[(6, Long)], true), None);
}

#[test]
fn an_id_that_two_requests_bring_is_nobodys() {
    let id = [(5, Weight::Long)];
    let mut content = Content::new(ContentEvidence::Parents);
    content.begin(ONE, P, marks(&id));
    content.begin(TWO, P, marks(&id));
    assert_eq!(ask(&mut content, &id, false), None);
    content.end(TWO);
    assert_eq!(ask(&mut content, &id, true), None, "who brought it second may have left work behind");
    content.end(ONE);
    content.begin(ExchangeId(3), P, marks(&id));
    assert_eq!(ask(&mut content, &id, true), None, "popular");
    assert_eq!(content.tally(), Tally { ambiguous: 0, familiar: 3 });
}

#[test]
fn an_id_that_the_process_named_before_proves_nothing() {
    let mut content = Content::new(ContentEvidence::Parents);
    assert_eq!(ask(&mut content, BACKGROUND, true), None);
    content.begin(ONE, P, marks(BACKGROUND));
    assert_eq!(ask(&mut content, BACKGROUND, true), None);
}

#[test]
fn parents_are_asked_for_and_all_requests_were_seen() {
    let id = [(5, Weight::Long)];
    let mut content = Content::new(ContentEvidence::Parents);
    content.begin(ONE, P, marks(&id));
    assert_eq!(ask(&mut content, &id, false), Some((1, 1.0)));
    content.begin(TWO, P, partial());
    assert_eq!(ask(&mut content, &id, false), Some((1, 0.7)), "its body may name the id too");
    content.end(TWO);
    assert_eq!(ask(&mut content, &id, false), Some((1, 1.0)));
    content.begin(TWO, P, marks(&[(6, Weight::Short)]));
    assert_eq!(ask(&mut content, &[(6, Weight::Short)], false), Some((2, 0.5)));
}

#[test]
fn an_id_of_the_request_itself_is_enough() {
    let mut content = Content::new(ContentEvidence::Links);
    content.begin(ONE, P, marks(&[(5, Weight::Request)]));
    content.begin(TWO, P, partial());
    assert_eq!(ask(&mut content, &[(5, Weight::Long)], false), Some((1, 1.0)));
}

#[test]
fn nothing_is_kept_of_what_is_over_or_not_asked_for() {
    let mut content = Content::new(ContentEvidence::Links);
    content.begin(ONE, P, partial());
    content.begin(TWO, P, partial());
    content.end(ONE);
    content.end(TWO);
    assert!(content.bringers.is_empty() && content.requests.is_empty() && content.partial.is_empty());
    let mut content = Content::new(ContentEvidence::Off);
    content.begin(ONE, P, partial());
    assert!(content.requests.is_empty());
    assert_eq!(ask(&mut content, &[(1000, Weight::Short)], true), None);
}
