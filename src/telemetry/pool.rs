//! Memory that tables use on behalf of peers: pools that all tables of a kind share, and shortening
//! of texts that are only displayed.
//!
//! A table that peers can fill has a [`Share`] of its kind's [`Pool`] and reserves memory from it
//! before it stores more. Memory is counted there once: `/memz` and the memory limit read the
//! pools.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicUsize, Ordering},
};

use monitor_client::text::cut;

/// Bytes of a subject or a name that a table keeps which only shows it.
pub const SHORT_LEN_MAX: usize = 128;

/// What a shortened text ends with.
pub const MARK: &str = "…";

/// A share may have up to this many times what is free. A single share gets at most four fifths of
/// a pool, so that a later one still finds memory.
const SHARE_OF_FREE: usize = 4;

/// A limited number of bytes that all tables of one kind share.
#[derive(Debug)]
pub struct Pool {
    limit: AtomicUsize,
    used: AtomicUsize,
    count: AtomicUsize,
    refused: AtomicUsize,
}

impl Pool {
    /// A pool of `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
        }
    }

    /// Number of refused reservations so far.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Number of items that use them.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit; present reservations stay.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether a share that has `own` bytes may have `more`.
    fn admits(&self, own: usize, more: usize) -> bool {
        let free = self.limit().saturating_sub(self.used());
        let admitted = more <= free && own + more <= free.saturating_mul(SHARE_OF_FREE);
        if !admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }
}

/// One table's part of a pool. Releases everything when dropped.
#[derive(Debug)]
pub struct Share {
    pool: &'static Pool,
    bytes: AtomicUsize,
    count: AtomicUsize,
}

impl Share {
    /// An empty share.
    pub const fn new(pool: &'static Pool) -> Self {
        Self {
            pool,
            bytes: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
        }
    }

    /// Bytes reserved.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Number of items reserved for.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether that many more bytes can be reserved.
    pub fn has_capacity_for(&self, bytes: usize) -> bool {
        self.pool.admits(self.bytes(), bytes)
    }

    /// The same for an owner that has `elsewhere` more bytes in other shares of the pool; negative
    /// if this share also counts bytes of other owners.
    pub fn has_capacity_with(&self, elsewhere: isize, bytes: usize) -> bool {
        let own = self.bytes().saturating_add_signed(elsewhere);
        self.pool.admits(own, bytes)
    }

    /// Reserves memory for one more item; `false` if the pool or the share is exhausted.
    pub fn reserve(&self, bytes: usize) -> bool {
        let admitted = self.has_capacity_for(bytes);
        if admitted {
            self.reserve_unlimited(bytes);
        }
        admitted
    }

    /// Counts one more item that is limited by other means.
    pub fn reserve_unlimited(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.pool.used.fetch_add(bytes, Ordering::Relaxed);
        self.pool.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds to an item that was reserved.
    pub fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pool.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Subtracts from an item that was reserved.
    pub fn shrink(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Releases one item of that many bytes.
    pub fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.pool.used.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Releases everything.
    pub fn release_all(&self) {
        let (bytes, count) = (&self.bytes, &self.count);
        let pool = self.pool;
        let bytes = bytes.swap(0, Ordering::Relaxed);
        let count = count.swap(0, Ordering::Relaxed);
        if count == 0 && bytes == 0 {
            // Avoids writing to the pool's counters, which other threads use.
            return;
        }
        pool.used.fetch_sub(bytes, Ordering::Relaxed);
        pool.count.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release_all();
    }
}

/// Bytes that the allocator uses for an allocation of `len` bytes; zero for an empty one.
pub const fn allocated(len: usize) -> usize {
    match len {
        0 => 0,
        1..=24 => 32,
        // One word of header, rounded up to a multiple of two words.
        _ => (len + 8 + 15) & !15,
    }
}

/// Shortens a text that is kept for display; a long one keeps its beginning, followed by [`MARK`].
pub fn shorten(text: &str) -> Cow<'_, str> {
    shorten_to(text, SHORT_LEN_MAX)
}

/// The same with another limit in bytes, which must exceed the length of the mark.
pub fn shorten_to(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{MARK}", cut(text, max - MARK.len())))
}

/// The same for bytes that may not be UTF-8.
pub fn shorten_bytes(bytes: &[u8]) -> String {
    // An invalid byte becomes three.
    let begin = &bytes[..bytes.len().min(SHORT_LEN_MAX + 1)];
    shorten(&String::from_utf8_lossy(begin)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_share_leaves_memory_for_others() {
        static POOL: Pool = Pool::new(100_000);
        let fill = |share: &Share| (0..).take_while(|_| share.reserve(10)).count() * 10;
        let (first, second, third) = (Share::new(&POOL), Share::new(&POOL), Share::new(&POOL));
        assert!((79_000..=80_000).contains(&fill(&first)));
        assert!(fill(&second) >= 15_000);
        assert!(fill(&third) >= 3000);
        assert!(POOL.used() <= POOL.limit());
        assert_eq!(POOL.count() * 10, POOL.used());
        assert!(
            !Share::new(&POOL).reserve(50_000),
            "larger than what is free"
        );
        let before = POOL.used();
        second.release(10);
        assert_eq!(POOL.used(), before - 10);
        drop((first, second, third));
        assert_eq!((POOL.used(), POOL.count()), (0, 0));
    }

    #[test]
    fn shortened_texts_end_with_a_mark() {
        assert_eq!(shorten("short"), "short");
        let exact = "x".repeat(SHORT_LEN_MAX);
        assert_eq!(shorten(&exact), exact);
        for long in ["x".repeat(129), "é".repeat(100), "€".repeat(50_000)] {
            let short = shorten(&long);
            assert!(short.len() <= SHORT_LEN_MAX && short.len() > SHORT_LEN_MAX - 8);
            let begin = short.strip_suffix(MARK).expect("a mark");
            assert!(long.starts_with(begin));
        }
        assert!(shorten_bytes(&[0xff; 40_000]).len() <= SHORT_LEN_MAX);
        assert!(shorten_bytes(&[b'x'; 129]).ends_with(MARK));
        assert_eq!(shorten_bytes(b"abc"), "abc");
    }
}
