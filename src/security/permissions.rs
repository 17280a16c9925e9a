//! What a user may publish and subscribe to.
//!
//! [`Rules`] are what the operator wrote, [`Permissions`] the same for one
//! login, with the templates filled in. They only judge; sessions keep the
//! verdicts, and deliveries ask through [`super::delivery_filter`].

use std::time::Duration;

use crate::subject::{is_subset, is_valid, is_wildcard, matches, overlap};

/// The template for the common name of the client's certificate.
pub const CERTNAME: &str = "{{certname}}";
/// The template for the user's name.
pub const USER: &str = "{{user}}";

/// What the operator wrote for a user; the default permits everything.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Rules {
    /// Where to publish.
    pub publish: SubjectRules,
    /// What to subscribe to.
    pub subscribe: SubjectRules,
    /// Publishing to the reply subjects of what was received.
    pub responses: Option<Responses>,
}

/// Subjects that are permitted, and those that are not in spite of it.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SubjectRules {
    /// Permitted; `None` is everything.
    pub allow: Option<Vec<Pattern>>,
    /// Not permitted.
    pub deny: Vec<Pattern>,
}

/// A subject, wildcards and templates included.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Pattern {
    /// The subject.
    pub subject: String,
    /// The queue group that it is limited to; wildcards stand for tokens of
    /// its name.
    pub queue: Option<String>,
}

/// How far responses are permitted.
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

/// What the templates stand for in one login.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The common name of the client's certificate; empty if there is none.
    pub certname: &'a str,
}

impl Pattern {
    /// `SUBJECT`, or `SUBJECT QUEUE` where `with_queue`.
    ///
    /// # Errors
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
        let bare = subject.replace(CERTNAME, "").replace(USER, "");
        if bare.contains("{{") || bare.contains("}}") {
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

    /// The pattern for these names. The error names what cannot stand in it.
    fn filled(&self, names: Names<'_>) -> Result<Self, String> {
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

    fn takes_queue(&self, queue: Option<&[u8]>) -> bool {
        match (&self.queue, queue) {
            (Some(wanted), Some(queue)) => {
                wanted.as_bytes() == queue || is_subset(queue, wanted.as_bytes())
            }
            _ => false,
        }
    }
}

/// A name goes into a subject as it is, dots included: it must not bring
/// wildcards, blanks or empty tokens along.
fn check_name(template: &str, name: &str) -> Result<(), String> {
    let is_strange = |c: char| c.is_whitespace() || c.is_control() || "*>{}".contains(c);
    match is_valid(name.as_bytes()) && !is_wildcard(name.as_bytes()) && !name.contains(is_strange) {
        true => Ok(()),
        false if name.is_empty() => Err(format!("there is no name for {template}")),
        false => Err(format!("{name:?} cannot stand for {template} in a subject")),
    }
}

impl Rules {
    /// Whether some pattern depends on who logs in.
    pub fn have_templates(&self) -> bool {
        let SubjectRules { allow, deny } = &self.publish;
        let publish = allow.iter().flatten().chain(deny);
        let SubjectRules { allow, deny } = &self.subscribe;
        let subscribe = allow.iter().flatten().chain(deny);
        publish.chain(subscribe).any(Pattern::has_template)
    }

    /// The permissions of one login.
    ///
    /// # Errors
    ///
    /// A name that cannot stand in a subject: which, and for what.
    pub fn for_login(&self, names: Names<'_>) -> Result<Permissions, String> {
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
            // Who may respond may not publish at will unless it says so.
            publish.allow.get_or_insert_default();
        }
        Ok(Permissions {
            publish,
            subscribe: fill_both(&self.subscribe)?,
            responses: self.responses,
        })
    }
}

/// What one login may do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Permissions {
    publish: SubjectRules,
    subscribe: SubjectRules,
    responses: Option<Responses>,
}

/// What comes of a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subscribing {
    /// It is permitted.
    Allow,
    /// It is permitted, and takes subjects that are denied: each delivery is to
    /// be judged.
    AllowSome,
    /// It is not permitted.
    Deny,
}

impl Permissions {
    /// Whether `subject` may be published to, responses left out.
    pub fn may_publish(&self, subject: &[u8]) -> bool {
        let is_in = |patterns: &[Pattern]| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| matches(pattern.subject.as_bytes(), subject))
        };
        self.publish.allow.as_deref().is_none_or(is_in) && !is_in(&self.publish.deny)
    }

    /// What may be published, responses left out.
    pub fn publish(&self) -> &SubjectRules {
        &self.publish
    }

    /// What may be subscribed to.
    pub fn subscribe(&self) -> &SubjectRules {
        &self.subscribe
    }

    /// Whether some publish can be refused.
    pub fn limit_publishing(&self) -> bool {
        self.publish.allow.is_some() || !self.publish.deny.is_empty()
    }

    /// How far responses are permitted; `None`: not at all.
    pub fn responses(&self) -> Option<Responses> {
        self.responses
    }

    /// Whether `subject` may be subscribed to, in `queue` if there is one. All
    /// that the subscription takes must be permitted; what is denied in part
    /// only is kept from it when it is delivered.
    pub fn judge_subscription(&self, subject: &[u8], queue: Option<&[u8]>) -> Subscribing {
        if let Some(allow) = &self.subscribe.allow {
            let around = |pattern: &&Pattern| is_subset(subject, pattern.subject.as_bytes());
            let (mut plain, mut of_queues, mut of_this_queue) = (false, false, false);
            for pattern in allow.iter().filter(around) {
                plain |= pattern.queue.is_none();
                of_queues |= pattern.queue.is_some();
                of_this_queue |= pattern.takes_queue(queue);
            }
            // Where queue groups are named for the subject, only those may.
            let allowed = match queue.is_some() && of_queues {
                true => of_this_queue,
                false => plain,
            };
            if !allowed {
                return Subscribing::Deny;
            }
        }
        let denies = |pattern: &&Pattern| pattern.queue.is_none() || pattern.takes_queue(queue);
        let mut verdict = Subscribing::Allow;
        for pattern in self.subscribe.deny.iter().filter(denies) {
            let pattern = pattern.subject.as_bytes();
            if matches(pattern, subject) {
                return Subscribing::Deny;
            }
            if overlap(pattern, subject) {
                verdict = Subscribing::AllowSome;
            }
        }
        verdict
    }

    /// Whether a message to `subject` may be delivered to a subscription in
    /// `queue`; asked for those that are [`Subscribing::AllowSome`].
    pub fn may_receive(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        !self.subscribe.deny.iter().any(|pattern| {
            (pattern.queue.is_none() || pattern.takes_queue(queue))
                && matches(pattern.subject.as_bytes(), subject)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The permissions of one who may publish to `subject` only.
    fn publishing(subject: &str, user: &str, certname: &str) -> Result<Permissions, String> {
        let rules = Rules {
            publish: SubjectRules {
                allow: Some(vec![Pattern::parse(subject, false)?]),
                deny: Vec::new(),
            },
            ..Rules::default()
        };
        assert!(rules.have_templates(), "{subject}");
        rules.for_login(Names { user, certname })
    }

    #[test]
    fn templates_stand_for_names_as_they_are() {
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

    /// Class "permission maths": a name cannot widen the rule it stands in.
    #[test]
    fn names_that_would_widen_a_rule_are_refused() {
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
        // Without the template any name will do.
        let rules = Rules::default();
        assert!(!rules.have_templates());
        let names = Names {
            user: "*",
            certname: ">",
        };
        assert!(rules.for_login(names).is_ok());
    }

    #[test]
    fn templates_that_are_not_known_are_refused() {
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
