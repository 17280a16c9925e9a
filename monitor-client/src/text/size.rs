//! Bytes for people. Findings, `midge top`, `check_nats` and the page of the
//! monitoring port write one size in one way.

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Where a value is written in the next unit: above, it would read as 1024.
const STEP: f64 = 1023.5;

/// `987 B`, `61.2 MiB`, `64 MiB`: powers of 1024, as in the configuration, with
/// three digits, and no zeros at the end of a fraction.
pub fn bytes(count: f64) -> String {
    let mut value = count.max(0.0);
    let mut unit = 0;
    while value >= STEP && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, text) in [
            (0.0, "0 B"),
            (-1.0, "0 B"),
            (f64::NAN, "0 B"),
            (12.4, "12 B"),
            (1023.0, "1023 B"),
            (1023.6, "1 KiB"),
            (1024.0, "1 KiB"),
            (1536.0, "1.5 KiB"),
            (10_230.0, "9.99 KiB"),
            (10_239.0, "10 KiB"),
            (102_399.0, "100 KiB"),
            (1_048_575.0, "1 MiB"),
            (64_172_851.2, "61.2 MiB"),
            (67_108_864.0, "64 MiB"),
            (1.5e12, "1.36 TiB"),
            (u64::MAX as f64, "16384 PiB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }
}
