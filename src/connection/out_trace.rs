//! Whether what is delivered to a connection is traced, and what a trace shows of a
//! message, whichever way it goes.

use std::sync::atomic::{AtomicU32, Ordering};

/// The parts of a message that a trace shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Its headers and nothing of its payload.
    pub headers_alone: bool,
    /// So many bytes at most.
    pub len_max: Option<usize>,
}

impl Shown {
    /// The line's text for a body whose first `header_len` bytes are headers; `None` if
    /// nothing is to be shown.
    pub fn text(self, body: &[u8], header_len: usize) -> Option<String> {
        let body = match self.headers_alone {
            true => body.get(..header_len)?,
            false => body,
        };
        if body.is_empty() {
            return None;
        }
        let shown = &body[..body.len().min(self.len_max.unwrap_or(body.len()))];
        let more = if shown.len() < body.len() { "..." } else { "" };
        let text = String::from_utf8_lossy(shown);
        Some(format!("MSG_PAYLOAD: [{text:?}{more}]"))
    }
}

/// Whether what is delivered to a connection is traced, and what is shown of it: one
/// number, since every delivery asks.
#[derive(Default)]
pub struct OutTrace(AtomicU32);

impl OutTrace {
    const ON: u32 = 1;
    const HEADERS_ALONE: u32 = 2;
    const LEN_SHIFT: u32 = 2;
    const LEN_ALL: u32 = u32::MAX >> Self::LEN_SHIFT;

    /// Has deliveries traced from now on, or not.
    pub fn set(&self, shown: Option<Shown>) {
        let number = shown.map_or(0, |shown| {
            let len = shown.len_max.and_then(|len| u32::try_from(len).ok());
            let len = len.map_or(Self::LEN_ALL, |len| len.min(Self::LEN_ALL));
            let headers_alone = u32::from(shown.headers_alone) * Self::HEADERS_ALONE;
            Self::ON | headers_alone | len << Self::LEN_SHIFT
        });
        // Mostly as it was, and read by others.
        if self.0.load(Ordering::Relaxed) != number {
            self.0.store(number, Ordering::Relaxed);
        }
    }

    /// The parts to show, if any.
    #[inline]
    pub fn shown(&self) -> Option<Shown> {
        let number = self.0.load(Ordering::Relaxed);
        if number == 0 {
            return None;
        }
        let len = number >> Self::LEN_SHIFT;
        Some(Shown {
            headers_alone: number & Self::HEADERS_ALONE != 0,
            len_max: (len != Self::LEN_ALL).then_some(len as usize),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_what_deliveries_show() {
        let trace = OutTrace::default();
        assert_eq!(trace.shown(), None);
        for headers_alone in [false, true] {
            for len_max in [None, Some(0), Some(5), Some(1 << 29)] {
                let shown = Shown {
                    headers_alone,
                    len_max,
                };
                trace.set(Some(shown));
                assert_eq!(trace.shown(), Some(shown));
            }
        }
        trace.set(None);
        assert_eq!(trace.shown(), None);
    }

    #[test]
    fn of_headers_alone_no_byte_of_the_payload_is_shown() {
        let shown = |headers_alone, len_max| Shown {
            headers_alone,
            len_max,
        };
        let all = shown(false, None).text(b"HEADpay", 4);
        assert_eq!(all.as_deref(), Some("MSG_PAYLOAD: [\"HEADpay\"]"));
        let headers = shown(true, Some(9)).text(b"HEADpay", 4);
        assert_eq!(headers.as_deref(), Some("MSG_PAYLOAD: [\"HEAD\"]"));
        let short = shown(true, Some(2)).text(b"HEADpay", 4);
        assert_eq!(short.as_deref(), Some("MSG_PAYLOAD: [\"HE\"...]"));
        assert_eq!(shown(true, None).text(b"pay", 0), None);
        assert_eq!(shown(false, None).text(b"", 0), None);
    }
}
