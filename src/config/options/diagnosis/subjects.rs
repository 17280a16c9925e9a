//! Subjects of which the diagnosis knows what is usual. The defaults are those of Choria and
//! MCollective, whose nodes publish much that nobody has to listen to.

use super::Diagnosis;
use crate::{
    config::{
        options::{Options, problems::Problems},
        syntax::Entry,
    },
    subject,
};

/// The default of `may_be_unheard`, in the table and in force.
pub(super) const MAY_BE_UNHEARD: &[&str] = &[
    "*.broadcast.agent.registration",
    "mcollective.reply.>",
    "choria.lifecycle.event.>",
    "choria.machine.>",
    "$KV.CHORIA_SERVICES.>",
];

/// The default of `reply_subjects`.
pub(super) const REPLY_SUBJECTS: &[&str] = &["_INBOX.>", "*.reply.>"];

pub(super) fn owned(subjects: &[&str]) -> Vec<String> {
    subjects.iter().map(|it| (*it).to_owned()).collect()
}

impl Diagnosis {
    /// Whether a message on this subject needs no subscriber.
    pub fn may_be_unheard(&self, subject: &[u8]) -> bool {
        is_among(&self.may_be_unheard, subject)
    }

    /// Whether clients subscribe to it to get replies.
    pub fn is_reply_subject(&self, subject: &[u8]) -> bool {
        is_among(&self.reply_subjects, subject)
    }
}

fn is_among(patterns: &[String], subject: &[u8]) -> bool {
    let mut patterns = patterns.iter().map(String::as_bytes);
    patterns.any(|pattern| subject::matches(pattern, subject))
}

pub(super) fn read_may_be_unheard(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    if let Some(subjects) = read(entry, problems) {
        options.diagnosis.may_be_unheard = subjects;
    }
}

pub(super) fn read_reply_subjects(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    if let Some(subjects) = read(entry, problems) {
        options.diagnosis.reply_subjects = subjects;
    }
}

fn read(entry: &Entry, problems: &mut Problems) -> Option<Vec<String>> {
    let texts = problems.texts(&entry.node, &entry.key)?;
    let mut subjects = Vec::new();
    for (text, position) in texts {
        if !subject::is_valid(text.as_bytes()) {
            problems.error(position, format!("{}: {text:?} is no subject", entry.key));
            return None;
        }
        subjects.push(text.to_owned());
    }
    Some(subjects)
}
