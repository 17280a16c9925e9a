//! Which part of a list an answer shows.

use super::{query::Query, refusal::Refusal};

/// Default number of entries of a page.
const DEFAULT_LIMIT: usize = 1024;

/// Most entries of a page: an entry is about a kilobyte, and the answer is made
/// in memory.
pub(in crate::monitor) const LIMIT_MAX: usize = 16 * 1024;

/// A part of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::monitor) struct Page {
    /// Entries before it.
    pub(in crate::monitor) offset: usize,
    /// Most entries on it.
    pub(in crate::monitor) limit: usize,
}

impl Page {
    /// The page selected by `offset` and `limit`. Invalid numbers mean the beginning and
    /// the default length.
    ///
    /// # Errors
    ///
    /// One of them is not a number.
    pub(in crate::monitor) fn parse(query: &Query) -> Result<Self, Refusal> {
        let offset = usize::try_from(query.integer("offset")?).unwrap_or(0);
        let limit = match usize::try_from(query.integer("limit")?) {
            Err(_) | Ok(0) => DEFAULT_LIMIT,
            Ok(limit) => limit.min(LIMIT_MAX),
        };
        Ok(Self { offset, limit })
    }

    /// The entries of the page.
    pub(in crate::monitor) fn cut<T>(
        self,
        entries: impl IntoIterator<Item = T>,
    ) -> impl Iterator<Item = T> {
        entries.into_iter().skip(self.offset).take(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_numbers_are_harmless() {
        for (text, offset, limit) in [
            ("", 0, 1024),
            ("offset=-7&limit=-5", 0, 1024),
            ("limit=0", 0, 1024),
            ("offset=3&limit=2", 3, 2),
            (
                "offset=9223372036854775807&limit=9223372036854775807",
                i64::MAX as usize,
                LIMIT_MAX,
            ),
            (
                "offset=-9223372036854775808&limit=-9223372036854775808",
                0,
                1024,
            ),
        ] {
            let page = Page::parse(&Query::parse(text)).unwrap();
            assert_eq!(page, Page { offset, limit }, "{text}");
            assert!(page.cut(0..5).count() <= 5);
        }
        assert!(Page::parse(&Query::parse("offset=x")).is_err());
    }

    #[test]
    fn a_page_is_cut_from_the_middle() {
        let page = Page {
            offset: 2,
            limit: 2,
        };
        assert_eq!(
            page.cut(["a", "b", "c", "d", "e"]).collect::<Vec<_>>(),
            ["c", "d"]
        );
    }
}
