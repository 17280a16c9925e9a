//! See [`targets::client_before_login`].

#![no_main]

#[path = "../src/targets/mod.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::client_before_login(bytes));
