//! No protocol takes the bytes of another for its own: not from the first byte on, and not from any other.
//!
//! `cargo test -p remora-engine --test confusion -- --nocapture` prints the matrix; `docs/protocols.md` has it too.

#[path = "support/matrix.rs"]
mod matrix;
#[path = "support/replay.rs"]
mod replay;
#[path = "support/session.rs"]
mod session;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use matrix::{Claim, Matrix, Place};

static MATRIX: LazyLock<Matrix> = LazyLock::new(|| matrix::of(&session::all()));

fn check(place: Place) {
    let is_wrong = |claim: &&Claim| claim.place == place && !claim.is_own;
    let wrong: Vec<_> = MATRIX.claims.iter().filter(is_wrong).collect();
    // One of each kind is enough to see what is wrong.
    let mut kinds = BTreeSet::new();
    let shown: Vec<_> = wrong.iter().filter(|claim| kinds.insert((claim.spoken(), claim.by))).collect();
    assert!(wrong.is_empty(), "{} claims {kinds:?}, such as {shown:#?}", wrong.len());
}

#[test]
fn beginnings_are_claimed_by_no_other() {
    for ((spoken, place, asked), count) in &MATRIX.counts {
        println!("{spoken} {}, {asked}: {count:?}", place.label());
    }
    check(Place::Start);
}

#[test]
fn pieces_in_the_middle_are_claimed_by_no_other() {
    check(Place::Piece);
}

#[test]
fn bytes_in_the_middle_are_claimed_by_no_other() {
    check(Place::Byte);
}

#[test]
fn who_is_the_client_is_never_mistaken() {
    let wrong: Vec<_> =
        MATRIX.claims.iter().filter(|claim| claim.is_own && claim.place != Place::Byte).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_session_is_claimed_from_the_start() {
    for session in session::all() {
        let own = matrix::of(std::slice::from_ref(&session));
        let count =
            own.counts.iter().find(|((spoken, place, asked), _)| spoken == asked && *place == Place::Start);
        let (_, count) = count.unwrap_or_else(|| panic!("{}: no such protocol", session.name));
        assert!(count.yes > 0, "{}", session.name);
    }
}
