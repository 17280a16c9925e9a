//! The configuration language: any text is read or refused with a place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::config::syntax;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // Files next to the text are nobody's business here.
    if !text.to_ascii_lowercase().contains("include") {
        let _ = syntax::parse_text("fuzz.conf", text, &|_| None);
    }
});
