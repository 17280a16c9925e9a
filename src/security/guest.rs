//! What a client without credentials may do. The log's warning and the finding depend on this, not
//! on whether users are configured.

use super::permissions::{Pattern, Rules, SubjectRules};

/// Number of subjects that a text lists.
const NAMED_MAX: usize = 5;

/// What applies to a client that logs in without credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Guest {
    /// The user it counts as (`no_auth_user`); `None` for none.
    pub user: Option<String>,
    /// The account it is in.
    pub account: String,
    /// What it may do; `None` permits everything.
    pub rules: Option<Rules>,
}

impl Guest {
    /// Whether it may publish or subscribe to every subject, or to all but a few.
    pub fn is_unlimited(&self) -> bool {
        let Some(rules) = &self.rules else {
            return true;
        };
        is_open(&rules.publish) || is_open(&rules.subscribe)
    }

    /// What it may do, as a phrase that ends a sentence.
    pub fn text(&self) -> String {
        let who = match &self.user {
            Some(user) => format!(" as the user {user:?} of the account {:?}", self.account),
            None => String::new(),
        };
        let Some(rules) = &self.rules else {
            return format!("may publish and subscribe to everything{who}");
        };
        format!(
            "may publish {} and subscribe {}{who}",
            subjects(&rules.publish),
            subjects(&rules.subscribe)
        )
    }
}

/// Whether the rules permit subjects of nothing but wildcards and do not deny everything.
fn is_open(rules: &SubjectRules) -> bool {
    let is_all = |pattern: &Pattern| {
        let mut tokens = pattern.subject.split('.');
        tokens.all(|token| matches!(token, "*" | ">"))
    };
    let denies_all = rules
        .deny
        .iter()
        .any(|it| it.subject == ">" && it.queue.is_none());
    let allows_all = match &rules.allow {
        None => true,
        Some(allow) => allow.iter().any(is_all),
    };
    allows_all && !denies_all
}

fn subjects(rules: &SubjectRules) -> String {
    let but = match rules.deny.is_empty() {
        true => String::new(),
        false => format!(" but {}", named(&rules.deny)),
    };
    match &rules.allow {
        _ if rules
            .deny
            .iter()
            .any(|it| it.subject == ">" && it.queue.is_none()) =>
        {
            "to nothing".into()
        }
        None => format!("to everything{but}"),
        Some(allow) if allow.is_empty() => "to nothing".into(),
        Some(allow) => format!("to {}{but}", named(allow)),
    }
}

fn named(patterns: &[Pattern]) -> String {
    let names: Vec<&str> = patterns.iter().map(|it| &*it.subject).collect();
    match names.len().checked_sub(NAMED_MAX + 1) {
        None => names.join(", "),
        Some(more) => format!("{} and {} more", names[..NAMED_MAX].join(", "), more + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(publish: (&[&str], &[&str]), subscribe: (&[&str], &[&str])) -> Rules {
        let patterns = |texts: &[&str]| -> Vec<Pattern> {
            let parse = |text: &&str| Pattern::parse(text, true).expect("a pattern");
            texts.iter().map(parse).collect()
        };
        let subjects = |(allow, deny): (&[&str], &[&str])| SubjectRules {
            allow: (!allow.is_empty()).then(|| patterns(allow)),
            deny: patterns(deny),
        };
        Rules {
            publish: subjects(publish),
            subscribe: subjects(subscribe),
            responses: None,
        }
    }

    #[test]
    fn a_guest_is_unlimited_if_its_rules_name_no_subject() {
        for (publish, subscribe, unlimited, text) in [
            (
                (&["a"][..], &[][..]),
                (&["b.>", "c"][..], &[][..]),
                false,
                "may publish to a and subscribe to b.>, c",
            ),
            (
                (&[], &[]),
                (&["b"], &[]),
                true,
                "may publish to everything and subscribe to b",
            ),
            (
                (&[], &[">"]),
                (&["b"], &["b.c"]),
                false,
                "may publish to nothing and subscribe to b but b.c",
            ),
            (
                (&["a"], &[]),
                (&["*.>"], &["secret.>"]),
                true,
                "may publish to a and subscribe to *.> but secret.>",
            ),
            (
                (&["1", "2", "3", "4", "5", "6", "7"], &[]),
                (&["b"], &[]),
                false,
                "may publish to 1, 2, 3, 4, 5 and 2 more and subscribe to b",
            ),
        ] {
            let guest = Guest {
                user: Some("g".into()),
                account: "$G".into(),
                rules: Some(rules(publish, subscribe)),
            };
            assert_eq!(guest.is_unlimited(), unlimited, "{text}");
            let text = format!("{text} as the user \"g\" of the account \"$G\"");
            assert_eq!(guest.text(), text);
        }
    }
}
