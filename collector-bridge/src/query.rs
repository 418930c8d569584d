//! Questions about stored traces, and their answers.
