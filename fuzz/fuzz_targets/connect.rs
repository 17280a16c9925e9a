//! CONNECT: any bytes as JSON, laid over what was there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use midge::protocol::connect::ConnectOptions;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(options) = ConnectOptions::default().merge(bytes) {
        // The same CONNECT once more changes nothing.
        assert_eq!(options.merge(bytes).expect("it parsed before"), options);
    }
});
