//! See [`targets::leafnodes`].

#![no_main]

#[path = "../src/targets/mod.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::leafnodes(bytes));
