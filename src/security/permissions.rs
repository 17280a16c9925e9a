//! What a user may publish and subscribe to.
//!
//! [`Rules`] are as configured; [`Permissions`] are the rules of one login, with the templates
//! replaced. They only decide: sessions cache the decisions, and deliveries are checked by
//! [`super::delivery_filter`].

use std::{fmt, time::Duration};

use serde_json::value::{RawValue, to_raw_value};

use crate::subject::{is_subset, is_valid, is_wildcard, matches, overlap};

/// The template that stands for the common name of the client's certificate.
pub const CERTNAME: &str = "{{certname}}";
/// The template that stands for the user's name.
pub const USER: &str = "{{user}}";

/// The configured permissions of a user; the default permits everything.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Rules {
    /// Subjects to publish to.
    pub publish: SubjectRules,
    /// Subjects to subscribe to.
    pub subscribe: SubjectRules,
    /// Permission to publish to the reply subjects of received messages.
    pub responses: Option<Responses>,
}

/// Allowed subjects, and exceptions to them.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SubjectRules {
    /// Allowed; `None` allows everything.
    pub allow: Option<Vec<Pattern>>,
    /// Denied, even if allowed above.
    pub deny: Vec<Pattern>,
}

impl SubjectRules {
    /// As brokers tell each other: lists of subjects, `allow` and `deny`; `None` if there is no rule.
    /// Empty lists are left out.
    pub fn json(&self) -> Option<Box<RawValue>> {
        if *self == Self::default() {
            return None;
        }
        let mut block = serde_json::Map::new();
        let allow = self.allow.as_deref().unwrap_or_default();
        for (name, patterns) in [("allow", allow), ("deny", &self.deny)] {
            if !patterns.is_empty() {
                let texts = patterns.iter().map(|it: &Pattern| it.subject.clone());
                block.insert(name.to_owned(), texts.collect());
            }
        }
        // A block of texts always serialises.
        to_raw_value(&block).ok()
    }
}

/// A subject, which may have wildcards and templates.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pattern {
    /// The subject.
    pub subject: String,
    /// The queue group that it is limited to; its name may have wildcards.
    pub queue: Option<String>,
}

/// Limits of responses (`allow_responses`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Responses {
    /// Messages per reply subject; `None` is unlimited.
    pub max: Option<u32>,
    /// Time after the request; `None` is unlimited.
    pub expires: Option<Duration>,
}

impl Default for Responses {
    fn default() -> Self {
        Self {
            max: Some(1),
            expires: Some(Duration::from_secs(2 * 60)),
        }
    }
}

/// The values of the templates in one login.
#[derive(Clone, Copy, Debug)]
pub struct TemplateValues<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The common name of the client's certificate; empty if there is none.
    pub certname: &'a str,
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.queue {
            Some(queue) => write!(f, "\"{} {queue}\"", self.subject),
            None => write!(f, "\"{}\"", self.subject),
        }
    }
}

impl Pattern {
    /// Parses `SUBJECT`, or also `SUBJECT QUEUE` if `with_queue`.
    ///
    ///  # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str, with_queue: bool) -> Result<Self, String> {
        let mut parts = text.split_whitespace();
        let (subject, queue) = (parts.next().unwrap_or_default(), parts.next());
        if parts.next().is_some() || (queue.is_some() && !with_queue) {
            return Err(format!("{text:?} is not a subject"));
        }
        if let Some(queue) = queue.filter(|queue| !is_valid(queue.as_bytes())) {
            return Err(format!("the queue group {queue:?} is not valid"));
        }
        if !is_valid(subject.as_bytes()) {
            return Err(format!("{subject:?} is not a subject"));
        }
        let without_templates = subject.replace(CERTNAME, "").replace(USER, "");
        if without_templates.contains("{{") || without_templates.contains("}}") {
            return Err(format!(
                "{subject:?} has an unknown template; known are {CERTNAME} and {USER}"
            ));
        }
        Ok(Self {
            subject: subject.to_owned(),
            queue: queue.map(str::to_owned),
        })
    }

    fn has_template(&self) -> bool {
        self.subject.contains("{{")
    }

    /// Replaces the templates. The error says which value cannot be part of a subject.
    fn filled(&self, names: TemplateValues<'_>) -> Result<Self, String> {
        let mut subject = self.subject.clone();
        for (template, name) in [(CERTNAME, names.certname), (USER, names.user)] {
            if !subject.contains(template) {
                continue;
            }
            check_name(template, name)?;
            subject = subject.replace(template, name);
        }
        Ok(Self {
            subject,
            queue: self.queue.clone(),
        })
    }

    fn matches_queue(&self, queue: Option<&[u8]>) -> bool {
        match (&self.queue, queue) {
            (Some(wanted), Some(queue)) => {
                wanted.as_bytes() == queue || is_subset(queue, wanted.as_bytes())
            }
            _ => false,
        }
    }
}

/// A name is inserted into the subject as it is, dots included. It must not add wildcards, blanks
/// or empty tokens.
fn check_name(template: &str, name: &str) -> Result<(), String> {
    let is_forbidden = |c: char| c.is_whitespace() || c.is_control() || "*>{}".contains(c);
    match is_valid(name.as_bytes()) && !is_wildcard(name.as_bytes()) && !name.contains(is_forbidden)
    {
        true => Ok(()),
        false if name.is_empty() => Err(format!("there is no name for {template}")),
        false => Err(format!("{name:?} cannot stand for {template} in a subject")),
    }
}

impl Rules {
    /// Whether some pattern depends on who logs in.
    pub fn has_templates(&self) -> bool {
        let SubjectRules { allow, deny } = &self.publish;
        let publish = allow.iter().flatten().chain(deny);
        let SubjectRules { allow, deny } = &self.subscribe;
        let subscribe = allow.iter().flatten().chain(deny);
        publish.chain(subscribe).any(Pattern::has_template)
    }

    /// The permissions of one login.
    ///
    ///  # Errors
    ///
    /// The name that cannot be part of a subject, and its template.
    pub fn for_login(&self, names: TemplateValues<'_>) -> Result<Permissions, String> {
        let fill = |patterns: &[Pattern]| -> Result<Vec<Pattern>, String> {
            patterns
                .iter()
                .map(|pattern| pattern.filled(names))
                .collect()
        };
        let fill_both = |rules: &SubjectRules| -> Result<SubjectRules, String> {
            Ok(SubjectRules {
                allow: rules.allow.as_deref().map(fill).transpose()?,
                deny: fill(&rules.deny)?,
            })
        };
        let mut publish = fill_both(&self.publish)?;
        if self.responses.is_some() {
            // A user with `allow_responses` may publish nothing else unless the rules allow it.
            publish.allow.get_or_insert_default();
        }
        Ok(Permissions {
            publish,
            subscribe: fill_both(&self.subscribe)?,
            responses: self.responses,
        })
    }
}

/// The permissions of one login.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Permissions {
    publish: SubjectRules,
    subscribe: SubjectRules,
    responses: Option<Responses>,
}

/// The decision about a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SubscribeDecision {
    /// It is permitted.
    Allow,
    /// Permitted, but the subscription also matches denied subjects: each delivery must be checked.
    AllowFiltered,
    /// It is not permitted.
    Deny,
}

impl Permissions {
    /// Of these rules, without responses.
    pub fn new(publish: SubjectRules, subscribe: SubjectRules) -> Self {
        Self {
            publish,
            subscribe,
            responses: None,
        }
    }

    /// Whether `subject` may be published to. Does not consider responses.
    pub fn may_publish(&self, subject: &[u8]) -> bool {
        self.judge_publish(subject).is_ok()
    }

    /// The rule that permits to publish to `subject`, `None` where all is permitted that is not
    /// denied. Does not consider responses.
    ///
    ///  # Errors
    ///
    /// The rule that denies it, `None` if no rule allows it.
    pub fn judge_publish(&self, subject: &[u8]) -> Result<Option<&Pattern>, Option<&Pattern>> {
        let is_around = |pattern: &&Pattern| matches(pattern.subject.as_bytes(), subject);
        let allowed = match self.publish.allow.as_deref() {
            Some(patterns) => Some(patterns.iter().find(is_around).ok_or(None)?),
            None => None,
        };
        match self.publish.deny.iter().find(is_around) {
            Some(denied) => Err(Some(denied)),
            None => Ok(allowed),
        }
    }

    /// The same with subjects that are not to be received either.
    pub fn denying(mut self, subjects: impl IntoIterator<Item = Pattern>) -> Self {
        self.subscribe.deny.extend(subjects);
        self
    }

    /// The rules for publishing. Does not include responses.
    pub fn publish(&self) -> &SubjectRules {
        &self.publish
    }

    /// The rules for subscribing.
    pub fn subscribe(&self) -> &SubjectRules {
        &self.subscribe
    }

    /// Whether some publish can be refused.
    pub fn restricts_publishing(&self) -> bool {
        self.publish.allow.is_some() || !self.publish.deny.is_empty()
    }

    /// The limits of responses; `None`: responses are not permitted.
    pub fn responses(&self) -> Option<Responses> {
        self.responses
    }

    /// Whether `subject` may be subscribed to, in `queue` if there is one. Every subject that the
    /// subscription matches must be allowed; if only some of them are denied, their messages are
    /// withheld at delivery.
    pub fn check_subscription(&self, subject: &[u8], queue: Option<&[u8]>) -> SubscribeDecision {
        if let Some(allow) = &self.subscribe.allow {
            let around = |pattern: &&Pattern| is_subset(subject, pattern.subject.as_bytes());
            let (mut plain, mut of_queues, mut of_this_queue) = (false, false, false);
            for pattern in allow.iter().filter(around) {
                plain |= pattern.queue.is_none();
                of_queues |= pattern.queue.is_some();
                of_this_queue |= pattern.matches_queue(queue);
            }
            // If rules name queue groups for the subject, only those groups are allowed.
            let allowed = match queue.is_some() && of_queues {
                true => of_this_queue,
                false => plain,
            };
            if !allowed {
                return SubscribeDecision::Deny;
            }
        }
        let denies = |pattern: &&Pattern| pattern.queue.is_none() || pattern.matches_queue(queue);
        let mut verdict = SubscribeDecision::Allow;
        for pattern in self.subscribe.deny.iter().filter(denies) {
            let pattern = pattern.subject.as_bytes();
            if matches(pattern, subject) {
                return SubscribeDecision::Deny;
            }
            if overlap(pattern, subject) {
                verdict = SubscribeDecision::AllowFiltered;
            }
        }
        verdict
    }

    /// Whether a message to `subject` may be delivered to a subscription in `queue`. Needed only
    /// for those that are [`SubscribeDecision::AllowFiltered`].
    pub fn may_receive(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.withheld_by(subject, queue).is_none()
    }

    /// The rule by which it is not delivered.
    pub fn withheld_by(&self, subject: &[u8], queue: Option<&[u8]>) -> Option<&Pattern> {
        self.subscribe.deny.iter().find(|pattern| {
            (pattern.queue.is_none() || pattern.matches_queue(queue))
                && matches(pattern.subject.as_bytes(), subject)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Permissions to publish to `subject` only.
    fn publishing(subject: &str, user: &str, certname: &str) -> Result<Permissions, String> {
        let rules = Rules {
            publish: SubjectRules {
                allow: Some(vec![Pattern::parse(subject, false)?]),
                deny: Vec::new(),
            },
            ..Rules::default()
        };
        assert!(rules.has_templates(), "{subject}");
        rules.for_login(TemplateValues { user, certname })
    }

    #[test]
    fn templates_are_replaced_by_names_unchanged() {
        for (subject, own, others) in [
            (
                "n.{{certname}}",
                "n.web-1.example.org",
                "n.web-2.example.org",
            ),
            ("n.{{user}}.>", "n.u.x.y", "n.web-1.example.org.x"),
            ("n-{{user}}-{{certname}}", "n-u-web-1.example.org", "n-u-u"),
            ("{{certname}}", "web-1.example.org", "web-1"),
        ] {
            let permissions = publishing(subject, "u", "web-1.example.org").expect("names");
            assert!(permissions.may_publish(own.as_bytes()), "{subject}");
            assert!(!permissions.may_publish(others.as_bytes()), "{subject}");
        }
    }

    /// Security: a name cannot widen the rule that it is inserted into.
    #[test]
    fn names_that_would_widen_a_rule_are_rejected() {
        for name in [
            "",
            "*",
            ">",
            "a.*",
            "a.>",
            "a*",
            "a>b",
            ".",
            ".a",
            "a.",
            "a..b",
            "a b",
            "a\tb",
            "a\r\nPUB",
            "a\0",
            "{{user}}",
            "{{certname}}",
            "}}",
            "a\u{a0}b",
        ] {
            for subject in ["n.{{certname}}", "n.{{certname}}.>", "{{certname}}"] {
                let refused = publishing(subject, "u", name).expect_err(name);
                assert!(refused.contains("{{certname}}"), "{refused}");
                assert!(publishing(&subject.replace("certname", "user"), name, "n").is_err());
            }
        }
        // Without the template any name is accepted.
        let rules = Rules::default();
        assert!(!rules.has_templates());
        let names = TemplateValues {
            user: "*",
            certname: ">",
        };
        assert!(rules.for_login(names).is_ok());
    }

    #[test]
    fn unknown_templates_are_rejected() {
        for subject in [
            "n.{{host}}",
            "n.{{certname",
            "n.certname}}",
            "n.{{{{user}}}}",
        ] {
            assert!(Pattern::parse(subject, false).is_err(), "{subject}");
        }
    }
}
