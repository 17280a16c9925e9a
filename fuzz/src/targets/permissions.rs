//! Permissions, compared with a simple reference implementation.

use super::judge::{Lists, is_of};
use midge::security::permissions::{Pattern, Rules, SubscribeDecision, TemplateValues};

/// The first line has the user's name and the certificate's common name. Other lines begin with `P`
/// or `p` for allowed and denied publishes, `S` or `s` for allowed and denied subscriptions, `?`
/// for a requested subscription; a subject follows, and for subscriptions an optional queue group.
pub fn permissions(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut words = lines.next().unwrap_or("").split(' ');
    let names = TemplateValues {
        user: words.next().unwrap_or(""),
        certname: words.next().unwrap_or(""),
    };
    let (mut publish, mut subscribe) = (Lists::default(), Lists::default());
    let mut requested = Vec::new();
    for line in lines.take(24) {
        let Some((kind, text)) = line.split_at_checked(1) else {
            continue;
        };
        let list = match kind {
            "P" => &mut publish.allow,
            "p" => &mut publish.deny,
            "S" => &mut subscribe.allow,
            "s" => &mut subscribe.deny,
            "?" => &mut requested,
            _ => continue,
        };
        list.extend(Pattern::parse(text, "Ss?".contains(kind)));
    }
    let rules = Rules {
        publish: publish.rules(),
        subscribe: subscribe.rules(),
        responses: None,
    };
    let permissions = match rules.for_login(names) {
        Ok(permissions) => permissions,
        Err(_) => return assert!(rules.has_templates()),
    };
    let literals: Vec<&Pattern> = requested
        .iter()
        .filter(|requested| is_literal(requested))
        .collect();
    for literal in &literals {
        assert_eq!(
            permissions.may_publish(literal.subject.as_bytes()),
            publish.permit(&literal.subject, None, names),
            "{}",
            literal.subject
        );
    }
    for wanted in requested
        .iter()
        .filter(|wanted| !wanted.subject.contains("{{"))
    {
        let queue = wanted.queue.as_deref();
        if queue.is_some_and(|queue| queue.split('.').any(|token| token == "*" || token == ">")) {
            continue;
        }
        let queue_bytes = queue.map(str::as_bytes);
        let verdict = permissions.check_subscription(wanted.subject.as_bytes(), queue_bytes);
        for literal in &literals {
            if !is_of(&literal.subject, &wanted.subject) || verdict == SubscribeDecision::Deny {
                continue;
            }
            let comes = verdict == SubscribeDecision::Allow
                || permissions.may_receive(literal.subject.as_bytes(), queue_bytes);
            let may = subscribe.permit(&literal.subject, queue, names);
            assert_eq!(comes, may, "{} comes to {wanted:?}", literal.subject);
        }
        // A literal subscription without a queue group is permitted exactly if its subject is.
        if queue.is_none() && is_literal(wanted) {
            assert_eq!(
                verdict != SubscribeDecision::Deny,
                subscribe.permit(&wanted.subject, None, names),
                "{wanted:?}"
            );
        }
    }
}

fn is_literal(pattern: &Pattern) -> bool {
    let mut tokens = pattern.subject.split('.');
    tokens.all(|token| token != "*" && token != ">") && !pattern.subject.contains("{{")
}
