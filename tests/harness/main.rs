//! Tests of the test tools: the support crate, how tests read logs, the side-by-side benchmark, and
//! the corpus of the fuzz targets; and the licences of what the programs are linked with.

mod fuzz_corpus;
mod log_lines;
mod references;
mod side_by_side;
mod support_selftest;
mod third_party;
