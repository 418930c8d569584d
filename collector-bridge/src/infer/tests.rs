#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod accuracy;
mod simulator;
