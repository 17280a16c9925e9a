//! What tables hold, in bytes: pools that all tables of a kind share, and cuts for
//! the texts that they keep.
//!
//! Whoever keeps something that others feed holds a [`Share`] of the [`Pool`] of
//! its kind and asks it before it keeps more. What is held is counted there once:
//! `/memz` and the memory bound read the pools.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicUsize, Ordering},
};

use monitor_client::text::cut;

/// Bytes of a subject or a name that a table keeps which only shows it.
pub const SHOWN_LEN_MAX: usize = 128;

/// What a text ends with of which the rest was cut off.
pub const MARK: &str = "…";

/// How many times what is free one holder may have. One alone gets four fifths of a
/// pool, and whoever comes last still finds room.
const SHARE_OF_FREE: usize = 4;

/// The bytes that all tables of one kind may hold together.
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

    /// Times so far that there was no room.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Things that hold them.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets another limit; what is held stays.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Whether a holder that has `own` bytes may have `more`.
    fn admits(&self, own: usize, more: usize) -> bool {
        let free = self.limit().saturating_sub(self.used());
        let admitted = more <= free && own + more <= free.saturating_mul(SHARE_OF_FREE);
        if !admitted {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }
}

/// What one holder has of a pool; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    pool: &'static Pool,
    bytes: AtomicUsize,
    count: AtomicUsize,
}

impl Share {
    /// Nothing yet.
    pub const fn new(pool: &'static Pool) -> Self {
        Self {
            pool,
            bytes: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Things held.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether it may hold so many bytes more.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.pool.admits(self.bytes(), bytes)
    }

    /// The same for a holder that has so many bytes elsewhere in the pool, or bears
    /// those of others here if that is negative.
    pub fn has_room_with(&self, elsewhere: isize, bytes: usize) -> bool {
        let own = self.bytes().saturating_add_signed(elsewhere);
        self.pool.admits(own, bytes)
    }

    /// Holds one more thing of so many bytes; `false`: there is no room for it.
    pub fn hold(&self, bytes: usize) -> bool {
        let admitted = self.has_room_for(bytes);
        if admitted {
            self.hold_anyway(bytes);
        }
        admitted
    }

    /// The same for what is bounded elsewhere.
    pub fn hold_anyway(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.pool.used.fetch_add(bytes, Ordering::Relaxed);
        self.pool.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A thing that is held has grown.
    pub fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.pool.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A thing that is held has become smaller.
    pub fn shrink(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Gives one thing of so many bytes back.
    pub fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.pool.used.fetch_sub(bytes, Ordering::Relaxed);
        self.pool.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives everything back.
    pub fn give_all_back(&self) {
        let (bytes, count) = (&self.bytes, &self.count);
        let pool = self.pool;
        let bytes = bytes.swap(0, Ordering::Relaxed);
        let count = count.swap(0, Ordering::Relaxed);
        if count == 0 && bytes == 0 {
            // Others need not let go of the pool's figures for it.
            return;
        }
        pool.used.fetch_sub(bytes, Ordering::Relaxed);
        pool.count.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_all_back();
    }
}

/// Bytes that the allocator takes for a piece of `len`; nought for an empty one.
pub const fn allocated(len: usize) -> usize {
    match len {
        0 => 0,
        1..=24 => 32,
        // A word of its own, then the next multiple of two words.
        _ => (len + 8 + 15) & !15,
    }
}

/// A text as it is kept to be shown: of a long one the beginning, with a mark.
pub fn shown(text: &str) -> Cow<'_, str> {
    shown_within(text, SHOWN_LEN_MAX)
}

/// The same with another limit in bytes, which must be above that of the mark.
pub fn shown_within(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{MARK}", cut(text, max - MARK.len())))
}

/// The same of bytes that need not be text.
pub fn shown_bytes(bytes: &[u8]) -> String {
    // A byte that is no text takes three.
    let begin = &bytes[..bytes.len().min(SHOWN_LEN_MAX + 1)];
    shown(&String::from_utf8_lossy(begin)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_much_leaves_room_for_others() {
        static POOL: Pool = Pool::new(100_000);
        let fill = |share: &Share| (0..).take_while(|_| share.hold(10)).count() * 10;
        let (first, second, third) = (Share::new(&POOL), Share::new(&POOL), Share::new(&POOL));
        assert!((79_000..=80_000).contains(&fill(&first)));
        assert!(fill(&second) >= 15_000);
        assert!(fill(&third) >= 3000);
        assert!(POOL.used() <= POOL.limit());
        assert_eq!(POOL.count() * 10, POOL.used());
        assert!(!Share::new(&POOL).hold(50_000), "larger than what is free");
        let before = POOL.used();
        second.give_back(10);
        assert_eq!(POOL.used(), before - 10);
        drop((first, second, third));
        assert_eq!((POOL.used(), POOL.count()), (0, 0));
    }

    #[test]
    fn what_is_shown_is_short_and_says_so() {
        assert_eq!(shown("short"), "short");
        let exact = "x".repeat(SHOWN_LEN_MAX);
        assert_eq!(shown(&exact), exact);
        for long in ["x".repeat(129), "é".repeat(100), "€".repeat(50_000)] {
            let shown = shown(&long);
            assert!(shown.len() <= SHOWN_LEN_MAX && shown.len() > SHOWN_LEN_MAX - 8);
            let begin = shown.strip_suffix(MARK).expect("a mark");
            assert!(long.starts_with(begin));
        }
        assert!(shown_bytes(&[0xff; 40_000]).len() <= SHOWN_LEN_MAX);
        assert!(shown_bytes(&[b'x'; 129]).ends_with(MARK));
        assert_eq!(shown_bytes(b"abc"), "abc");
    }
}
