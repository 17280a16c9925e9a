//! The tree of tokens, for subscriptions with wildcards.
//!
//! It is as deep as its longest pattern, which clients and peers choose, and it is walked on
//! threads with small stacks: so nothing here is recursive, not even dropping it.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    Entry, SHRINK_CAPACITY_MIN, find_or_insert,
    node::{Found, Node},
};
use crate::{subject, telemetry::pool::allocated};

/// Slots of a table with one child.
const FIRST_SLOTS: usize = 4;

/// A node of the tree: everything that follows one token.
pub(super) struct Level<T> {
    children: HashMap<Box<[u8]>, Level<T>>,
    star: Option<Box<Level<T>>>,
    /// Patterns that end here.
    here: Node<T>,
    /// Patterns that end with `>` after this token.
    rest: Node<T>,
}

impl<T: Entry> Level<T> {
    /// Bytes of a child's slot in a table that is half full to full.
    const CHILD_LEN: usize = (size_of::<(Box<[u8]>, Self)>() + 1) * 3 / 2;

    /// Bytes of the table of the first child, without that child's slot.
    const FIRST_CHILD_LEN: usize =
        allocated(FIRST_SLOTS * size_of::<(Box<[u8]>, Self)>() + 32) - Self::CHILD_LEN;

    /// Bytes of the child for `*`.
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
        self.child_count() == 0 && self.here.is_empty() && self.rest.is_empty()
    }

    /// Number of children.
    fn child_count(&self) -> usize {
        self.children.len() + usize::from(self.star.is_some())
    }

    /// Returns the node of a pattern. If it is new, adds its memory to `grown`.
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

    /// Removes a subscription to a pattern and adds the freed memory to `shrunk`; `false` if it was
    /// not there.
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
                token => level.child_mut(token)?,
            };
        }
        Some(&mut level.here)
    }

    /// Removes the empty nodes on the path of a pattern.
    fn prune(&mut self, pattern: &[u8], shrunk: &mut usize) {
        // The number of tokens before the part of the path that nothing else uses.
        let (mut remove_child, mut depth) = (0, 0);
        let mut level = &*self;
        for token in subject::tokens(pattern).filter(|token| *token != b">") {
            let is_needed =
                level.child_count() > 1 || !level.here.is_empty() || !level.rest.is_empty();
            if is_needed {
                remove_child = depth;
            }
            let Some(next) = level.child(token) else {
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
        for token in tokens.by_ref().take(remove_child) {
            let Some(next) = level.child_mut(token) else {
                return;
            };
            level = next;
        }
        let mut is_last = level.children.len() == 1;
        if let Some(first) = tokens.next() {
            level.remove_child(first);
            *shrunk += Self::child_len(first, is_last);
        }
        is_last = true;
        *shrunk += tokens
            .map(|token| Self::child_len(token, is_last))
            .sum::<usize>();
    }

    /// Bytes of the child for one token; `is_last` if it is the last one of the table.
    fn child_len(token: &[u8], is_last: bool) -> usize {
        match token {
            b"*" => Self::STAR_LEN,
            word if is_last => Self::CHILD_LEN + allocated(word.len()) + Self::FIRST_CHILD_LEN,
            word => Self::CHILD_LEN + allocated(word.len()),
        }
    }

    fn child(&self, token: &[u8]) -> Option<&Self> {
        match token {
            b"*" => self.star.as_deref(),
            word => self.children.get(word),
        }
    }

    fn child_mut(&mut self, token: &[u8]) -> Option<&mut Self> {
        match token {
            b"*" => self.star.as_deref_mut(),
            word => self.children.get_mut(word),
        }
    }

    /// Removes one child.
    fn remove_child(&mut self, token: &[u8]) {
        if token == b"*" {
            self.star = None;
            return;
        }
        self.children.remove(token);
        // Shrink when most children have gone.
        let children = &mut self.children;
        if children.is_empty() {
            *children = HashMap::new();
        } else if children.capacity() > SHRINK_CAPACITY_MIN
            && children.len() < children.capacity() / 8
        {
            children.shrink_to(children.len() * 2);
        }
    }

    /// Collects the subscriptions that match `subject`.
    pub(super) fn collect<'a>(&'a self, subject: &[u8], found: &mut Found<'a, T>) {
        // If both the token and `*` have a child, the one for `*` is visited later.
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
    /// Moves all children into `below`.
    fn take_children(&mut self, below: &mut Vec<Self>) {
        below.extend(self.star.take().map(|level| *level));
        below.extend(self.children.drain().map(|(_, level)| level));
    }
}

impl<T> Drop for Level<T> {
    fn drop(&mut self) {
        let mut below = Vec::new();
        self.take_children(&mut below);
        while let Some(mut level) = below.pop() {
            // It has no children left when it is dropped here.
            level.take_children(&mut below);
        }
    }
}

fn split_token(subject: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'.', subject) {
        Some(dot) => (&subject[..dot], Some(&subject[dot + 1..])),
        None => (subject, None),
    }
}
