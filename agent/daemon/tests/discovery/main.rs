//! Discovery against processes that really run.

mod follow;
mod go;
mod runtimes;
mod spawn;
