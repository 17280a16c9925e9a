//! The tree of tokens: subscriptions with wildcards.
//!
//! It is as deep as its longest pattern, which clients and peers choose, and is
//! walked on threads with small stacks: nothing here recurses, its end neither.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    Entry, PLACES_MIN, find_or_insert,
    node::{Found, Node},
};
use crate::{subject, telemetry::held::allocated};

/// Places of a table with one child.
const FIRST_PLACES: usize = 4;

/// One token's place in the tree of patterns.
pub(super) struct Level<T> {
    children: HashMap<Box<[u8]>, Level<T>>,
    star: Option<Box<Level<T>>>,
    /// Patterns that end here.
    here: Node<T>,
    /// Patterns that end with `>` after this token.
    rest: Node<T>,
}

impl<T: Entry> Level<T> {
    /// Bytes of a token's place in a table that is half full to full.
    const CHILD_LEN: usize = (size_of::<(Box<[u8]>, Self)>() + 1) * 3 / 2;

    /// Bytes of the table of a token's first child besides that child's.
    const FIRST_CHILD_LEN: usize =
        allocated(FIRST_PLACES * size_of::<(Box<[u8]>, Self)>() + 32) - Self::CHILD_LEN;

    /// Bytes of the place of a `*`.
    const STAR_LEN: usize = allocated(size_of::<Self>());

    pub(super) fn new() -> Self {
        Self {
            children: HashMap::new(),
            star: None,
            here: Node::new(),
            rest: Node::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ways() == 0 && self.here.is_empty() && self.rest.is_empty()
    }

    /// How many ways lead on.
    fn ways(&self) -> usize {
        self.children.len() + usize::from(self.star.is_some())
    }

    /// The node of a pattern, made if need be: its bytes are added to `grown`.
    pub(super) fn node(&mut self, pattern: &[u8], grown: &mut usize) -> &mut Node<T> {
        let mut level = self;
        for token in subject::tokens(pattern) {
            match token {
                b">" => return &mut level.rest,
                b"*" => {
                    level = level.star.get_or_insert_with(|| {
                        *grown += Self::STAR_LEN;
                        Box::new(Level::new())
                    });
                }
                word => {
                    let first = match level.children.is_empty() {
                        true => Self::FIRST_CHILD_LEN,
                        false => 0,
                    };
                    level = find_or_insert(&mut level.children, word, || {
                        *grown += first + Self::CHILD_LEN + allocated(word.len());
                        Level::new()
                    });
                }
            }
        }
        &mut level.here
    }

    /// Removes a subscription to a pattern; `false` if it was not there. The bytes of
    /// what is removed with it are added to `shrunk`.
    pub(super) fn remove(&mut self, pattern: &[u8], entry: &Arc<T>, shrunk: &mut usize) -> bool {
        let Some(node) = self.node_mut(pattern) else {
            return false;
        };
        let removed = node.remove(entry, shrunk);
        if node.is_empty() {
            self.prune(pattern, shrunk);
        }
        removed
    }

    fn node_mut(&mut self, pattern: &[u8]) -> Option<&mut Node<T>> {
        let mut level = self;
        for token in subject::tokens(pattern) {
            level = match token {
                b">" => return Some(&mut level.rest),
                token => level.way_mut(token)?,
            };
        }
        Some(&mut level.here)
    }

    /// Cuts off what is empty on the way of a pattern.
    fn prune(&mut self, pattern: &[u8], shrunk: &mut usize) {
        // The number of tokens in front of the way that nothing else needs.
        let (mut cut, mut depth) = (0, 0);
        let mut level = &*self;
        for token in subject::tokens(pattern).filter(|token| *token != b">") {
            let is_needed = level.ways() > 1 || !level.here.is_empty() || !level.rest.is_empty();
            if is_needed {
                cut = depth;
            }
            let Some(next) = level.way(token) else {
                return;
            };
            level = next;
            depth += 1;
        }
        if depth == 0 || !level.is_empty() {
            return;
        }
        let mut tokens = subject::tokens(pattern).take(depth);
        let mut level = self;
        for token in tokens.by_ref().take(cut) {
            let Some(next) = level.way_mut(token) else {
                return;
            };
            level = next;
        }
        let mut is_last = level.children.len() == 1;
        if let Some(first) = tokens.next() {
            level.cut(first);
            *shrunk += Self::len_of_way(first, is_last);
        }
        is_last = true;
        *shrunk += tokens
            .map(|token| Self::len_of_way(token, is_last))
            .sum::<usize>();
    }

    /// Bytes of the way to one token, if it `is_last` with the table of the words.
    fn len_of_way(token: &[u8], is_last: bool) -> usize {
        match token {
            b"*" => Self::STAR_LEN,
            word if is_last => Self::CHILD_LEN + allocated(word.len()) + Self::FIRST_CHILD_LEN,
            word => Self::CHILD_LEN + allocated(word.len()),
        }
    }

    fn way(&self, token: &[u8]) -> Option<&Self> {
        match token {
            b"*" => self.star.as_deref(),
            word => self.children.get(word),
        }
    }

    fn way_mut(&mut self, token: &[u8]) -> Option<&mut Self> {
        match token {
            b"*" => self.star.as_deref_mut(),
            word => self.children.get_mut(word),
        }
    }

    /// Takes one way away.
    fn cut(&mut self, token: &[u8]) {
        if token == b"*" {
            self.star = None;
            return;
        }
        self.children.remove(token);
        // A crowd that has left gives its memory back.
        let children = &mut self.children;
        if children.is_empty() {
            *children = HashMap::new();
        } else if children.capacity() > PLACES_MIN && children.len() < children.capacity() / 8 {
            children.shrink_to(children.len() * 2);
        }
    }

    /// Gathers what takes `subject`.
    pub(super) fn collect<'a>(&'a self, subject: &[u8], found: &mut Found<'a, T>) {
        // Where both ways go on, the star's waits here.
        let mut waiting = Vec::new();
        let mut next = Some((self, Some(subject)));
        while let Some((level, remaining)) = next {
            next = match remaining {
                Some(remaining) => {
                    found.add(&level.rest);
                    let (token, below) = split_token(remaining);
                    let word = level.children.get(token).map(|level| (level, below));
                    let star = level.star.as_deref().map(|level| (level, below));
                    if word.is_some() {
                        waiting.extend(star);
                    }
                    word.or(star)
                }
                None => {
                    found.add(&level.here);
                    None
                }
            };
            next = next.or_else(|| waiting.pop());
        }
    }

    pub(super) fn for_each(&self, visit: &mut impl FnMut(&Arc<T>)) {
        let mut waiting = vec![self];
        while let Some(level) = waiting.pop() {
            level.here.for_each(visit);
            level.rest.for_each(visit);
            waiting.extend(level.star.as_deref());
            waiting.extend(level.children.values());
        }
    }
}

impl<T> Level<T> {
    /// Takes all that is below out of it.
    fn uproot(&mut self, below: &mut Vec<Self>) {
        below.extend(self.star.take().map(|level| *level));
        below.extend(self.children.drain().map(|(_, level)| level));
    }
}

impl<T> Drop for Level<T> {
    fn drop(&mut self) {
        let mut below = Vec::new();
        self.uproot(&mut below);
        while let Some(mut level) = below.pop() {
            // Nothing is below it when it is dropped here.
            level.uproot(&mut below);
        }
    }
}

fn split_token(subject: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'.', subject) {
        Some(dot) => (&subject[..dot], Some(&subject[dot + 1..])),
        None => (subject, None),
    }
}
