//! Which subjects a federation broker publishes on for others: those of agents, services and nodes
//! of its collectives at the site, and those of replies upstream. Otherwise whoever may send it
//! requests could publish on any subject of the site, past all permissions there.

/// Bytes of the longest subject that is passed on; brokers accept control lines of 4 KiB.
const SUBJECT_LEN_MAX: usize = 1024;

/// The subjects of some collectives.
pub struct Rules {
    /// The collectives' names, each with a dot behind it.
    prefixes: Vec<String>,
}

impl Rules {
    /// Those of these collectives.
    pub fn new(collectives: &[String]) -> Self {
        let prefix = |name: &String| format!("{name}.");
        Self {
            prefixes: collectives.iter().map(prefix).collect(),
        }
    }

    /// Whether a request may go to this subject of the site.
    pub fn allows_target(&self, subject: &str) -> bool {
        const KINDS: [&str; 3] = ["node.", "broadcast.agent.", "broadcast.service."];
        let is_target = |rest: &str| KINDS.iter().any(|kind| is_below(rest, kind));
        self.within(subject, is_target)
    }

    /// Whether a reply may go to this subject upstream.
    pub fn allows_reply(&self, subject: &str) -> bool {
        self.within(subject, |rest| is_below(rest, "reply."))
    }

    fn within(&self, subject: &str, accepts: impl Fn(&str) -> bool) -> bool {
        let mut rests = self.prefixes.iter();
        is_subject(subject)
            && rests.any(|prefix| subject.strip_prefix(&**prefix).is_some_and(&accepts))
    }
}

fn is_below(rest: &str, kind: &str) -> bool {
    rest.strip_prefix(kind).is_some_and(|name| !name.is_empty())
}

/// Whether a text can be published on: it is part of a protocol line then.
fn is_subject(text: &str) -> bool {
    text.len() <= SUBJECT_LEN_MAX && crate::subject::is_publishable(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_the_collectives_alone() {
        let rules = Rules::new(&["mcollective".to_owned(), "eu".to_owned()]);
        for target in [
            "mcollective.node.web1.example.net",
            "mcollective.broadcast.agent.rpcutil",
            "mcollective.broadcast.service.registry",
            "eu.node.a",
        ] {
            assert!(rules.allows_target(target), "{target}");
            assert!(!rules.allows_reply(target), "{target}");
        }
        for reply in ["mcollective.reply.abc.1", "eu.reply.admin.example.net.1.2"] {
            assert!(rules.allows_reply(reply), "{reply}");
            assert!(!rules.allows_target(reply), "{reply}");
        }
        let long = format!("mcollective.node.{}", "a".repeat(SUBJECT_LEN_MAX));
        for neither in [
            "",
            "mcollective",
            "mcollective.node.",
            "mcollective.node..a",
            "mcollective.node.*",
            "mcollective.node.>",
            "mcollective.reply.*",
            "mcollective.reply.a b",
            "mcollective.reply.a\r\nPUB x 0",
            "mcollective.node.a\0",
            "us.node.a",
            "mcollective.eu.node.a",
            "xmcollective.node.a",
            "mcollective.broadcast.agent.",
            "mcollective.broadcast.a",
            "choria.federation.prod.federation",
            "$SYS.REQ.SERVER.PING",
            &*long,
        ] {
            assert!(!rules.allows_target(neither), "{neither:?}");
            assert!(!rules.allows_reply(neither), "{neither:?}");
        }
    }
}
