//! The filter of a request that Ruby has written as YAML, which is what MCollective's Choria plugin
//! does unless its setting `choria.security.serializer` says `json`.
//!
//! No YAML is parsed: Ruby writes a request in one form, in which the lines of interest can stand
//! nowhere else, as everything within a value is indented further. What has another form is not read.

/// The lines that begin the two maps of interest.
const ENVELOPE: &str = "envelope:";
const FILTER: &str = "  filter:";

/// What the lines within them begin with.
const IN_ENVELOPE: &str = "  ";
const IN_FILTER: &str = "    ";

/// Whether a request is YAML.
pub(super) fn is_yaml(request: &str) -> bool {
    request.starts_with("---\n")
}

/// The names that the filter has for agents, as they are written, and whether it has anything else.
/// `None` if there is no filter.
pub(super) fn filter_of(request: &str) -> Option<(Vec<&str>, bool)> {
    let mut lines = request.lines().skip_while(|line| *line != ENVELOPE);
    lines.next()?;
    let envelope = lines.take_while(|line| line.starts_with(IN_ENVELOPE));
    let mut filter = envelope.skip_while(|line| !line.starts_with(FILTER));
    match filter.next()?.strip_prefix(FILTER)? {
        "" => {}
        " {}" => return Some((Vec::new(), false)),
        _ => return None,
    }
    let mut agents = Vec::new();
    let (mut of_agents, mut has_others, mut has_any) = (false, false, false);
    for line in filter.map_while(|line| line.strip_prefix(IN_FILTER)) {
        has_any = true;
        if of_agents && let Some(name) = line.strip_prefix("- ") {
            agents.push(name);
            continue;
        }
        of_agents = line == "agent:";
        has_others |= !of_agents && !line.ends_with(": []");
    }
    has_any.then_some((agents, has_others))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Ruby writes it, with these lines as the filter.
    fn request(filter: &str) -> String {
        format!(
            "---\nprotocol: choria:request:1\nmessage: |\n  a: b\n  envelope:\n    filter:\n      \
             fact: []\n\nenvelope:\n  requestid: 0f\n  senderid: admin\n  callerid: choria=alice\n\
             {filter}  collective: mcollective\n  agent: rpcutil\n  ttl: 60\n  time: 1464002319\n"
        )
    }

    #[test]
    fn what_ruby_writes_is_read() {
        for (filter, expected) in [
            (
                "  filter:\n    fact: []\n    cf_class: []\n    agent:\n    - rpcutil\n    - puppet\n    \
                 identity: []\n    compound: []\n",
                Some((vec!["rpcutil", "puppet"], false)),
            ),
            (
                "  filter:\n    fact: []\n    agent: []\n    compound: []\n",
                Some((vec![], false)),
            ),
            (
                "  filter:\n    fact:\n    - fact: os\n      operator: \"==\"\n      value: x\n    \
                 agent: []\n",
                Some((vec![], true)),
            ),
            (
                "  filter:\n    agent:\n    - a\n    identity:\n    - web1\n",
                Some((vec!["a"], true)),
            ),
            (
                "  filter:\n    fact: &1 []\n    agent: *1\n",
                Some((vec![], true)),
            ),
            ("  filter: {}\n", Some((vec![], false))),
            ("  filter: []\n", None),
            ("  filter:\n", None),
            ("  filters:\n    fact: []\n", None),
            ("", None),
        ] {
            let request = request(filter);
            assert!(is_yaml(&request));
            assert_eq!(filter_of(&request), expected, "{filter}");
        }
        assert_eq!(filter_of("---\nfilter:\n    fact: []\n"), None);
        assert!(!is_yaml("{}"));
    }
}
