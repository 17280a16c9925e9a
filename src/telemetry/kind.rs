//! The kinds of peers. Connections are registered, counted and shown by kind.

use std::ops::{Index, IndexMut};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What is at the other end of a connection.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// The name that answers show.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

// A new kind is one more line here. The compiler then asks in each place that treats
// kinds differently what is to be done with it.
kinds! {
    /// A client.
    Client = "Client",
    /// Another broker of the cluster.
    Router = "Router",
    /// A broker that is no member of the cluster: a leafnode, or the hub of this one.
    Leafnode = "Leafnode",
}

impl Kind {
    /// Whether such a peer is in one account; a route carries all of them.
    pub fn has_account(self) -> bool {
        match self {
            Self::Client | Self::Leafnode => true,
            Self::Router => false,
        }
    }
}

/// One value for each kind of peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByKind<T>([T; Kind::ALL.len()]);

impl<T> ByKind<T> {
    /// The value that `of` gives for each kind.
    pub fn new(of: impl FnMut(Kind) -> T) -> Self {
        Self(Kind::ALL.map(of))
    }

    /// The values, in the order of [`Kind::ALL`].
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T> Index<Kind> for ByKind<T> {
    type Output = T;

    fn index(&self, kind: Kind) -> &T {
        &self.0[kind as usize]
    }
}

impl<T> IndexMut<Kind> for ByKind<T> {
    fn index_mut(&mut self, kind: Kind) -> &mut T {
        &mut self.0[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_place_and_a_name_of_its_own() {
        let mut names = ByKind::new(Kind::name);
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(names[kind], kind.name());
            assert_eq!(kind as usize, index);
        }
        names[Kind::Router] = "changed";
        assert_eq!(names[Kind::Client], "Client");
        let mut all: Vec<_> = Kind::ALL.map(Kind::name).to_vec();
        all.dedup();
        assert_eq!(all.len(), Kind::ALL.len());
    }
}
