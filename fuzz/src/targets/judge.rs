//! A naive judge of permissions: what a list of patterns means, without the broker's
//! tables and caches. The fuzz target and the tests of permissions hold the broker
//! against it.

use std::borrow::Cow;

use midge::security::permissions::{CERTNAME, Pattern, SubjectRules, TemplateValues, USER};

/// One line of rules: what is permitted, and what is not.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) allow: Vec<Pattern>,
    pub(crate) deny: Vec<Pattern>,
}

impl Lists {
    /// The same for the broker.
    pub(crate) fn rules(&self) -> SubjectRules {
        SubjectRules {
            allow: (!self.allow.is_empty()).then(|| self.allow.clone()),
            deny: self.deny.clone(),
        }
    }

    /// Whether a message to `subject` passes, in a subscription of this queue.
    pub(crate) fn permit(
        &self,
        subject: &str,
        queue: Option<&str>,
        names: TemplateValues<'_>,
    ) -> bool {
        let concerns = |pattern: &Pattern| {
            let of_queue = match (&pattern.queue, queue) {
                (None, _) => true,
                (Some(wanted), Some(queue)) => is_of(queue, wanted),
                (Some(_), None) => false,
            };
            of_queue && is_of(subject, &filled(pattern, names))
        };
        (self.allow.is_empty() || self.allow.iter().any(concerns))
            && !self.deny.iter().any(concerns)
    }
}

fn filled<'a>(pattern: &'a Pattern, names: TemplateValues<'_>) -> Cow<'a, str> {
    let subject = &pattern.subject;
    match subject.contains("{{") {
        true => Cow::Owned(
            subject
                .replace(CERTNAME, names.certname)
                .replace(USER, names.user),
        ),
        false => Cow::Borrowed(subject),
    }
}

/// Whether a literal subject is one of the pattern's.
pub(crate) fn is_of(subject: &str, pattern: &str) -> bool {
    let (subject, pattern): (Vec<&str>, Vec<&str>) =
        (subject.split('.').collect(), pattern.split('.').collect());
    for (at, token) in pattern.iter().enumerate() {
        match (*token, subject.get(at)) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(found)) if token == *found => {}
            _ => return false,
        }
    }
    subject.len() == pattern.len()
}
