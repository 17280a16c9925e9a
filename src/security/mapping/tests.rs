use chrono::Utc;
use proptest::prelude::*;

use super::*;
use crate::security::distinguished_name::escaped;

fn certificate(subject: &str) -> PeerCertificate {
    PeerCertificate {
        subject: subject.into(),
        common_name: String::new(),
        emails: vec!["a@example.org".into()],
        dns_names: vec!["node1".into(), "puppet".into()],
        uris: vec!["spiffe://x/y".into()],
        serial: String::new(),
        issuer: Box::default(),
        not_before: Utc::now(),
        not_after: Utc::now(),
    }
}

fn find(certificate: &PeerCertificate, users: &[&str]) -> Option<String> {
    Mapping::new(users.iter().copied()).find(certificate, |name| users.contains(&name))
}

#[test]
fn alternative_names_come_before_the_subject() {
    let peer = certificate("CN=node1,O=example");
    let mut users = vec![
        "a@example.org",
        "puppet",
        "spiffe://x/y",
        "CN=node1,O=example",
        "O=example,CN=node1",
    ];
    while let Some(first) = users.first().copied() {
        users.reverse();
        assert_eq!(find(&peer, &users).as_deref(), Some(first));
        users.reverse();
        users.remove(0);
    }
    assert_eq!(find(&peer, &users), None);
}

#[test]
fn subjects_are_compared_as_names() {
    let peer = certificate(r"CN=node\, 1,OU=a+UID=b,O=x");
    assert_eq!(find(&peer, &[r"CN=node\, 1,OU=a+UID=b,O=x"]), None, "UID");
    let peer = certificate(r"CN=node\, 1,OU=a+L=b,DC=x,DC=y");
    for same in [
        r"CN=node\, 1,OU=a+L=b,DC=x,DC=y",
        r"cn=node\2c 1 ,  ou = a + l=b , DC=x,dc=y",
        r"CN=node\, 1,L=b+OU=a,DC=x,DC=y",
        r"DC=y,DC=x,CN=node\, 1,L=b+OU=a",
        // As Go writes it, with the domain components.
        r"CN=node\, 1,L=b,OU=a",
        r"CN=node\, 1,L=b,OU=a,DC=y,DC=x",
    ] {
        assert_eq!(find(&peer, &[same]).as_deref(), Some(same));
    }
    for other in [
        r"CN=node\, 1,OU=a,L=b,DC=x,DC=y",
        r"CN=node\, 1,OU=a+L=b,DC=x",
        r"CN=node\, 1,OU=a+L=b,DC=x,DC=x",
        r"CN=Node\, 1,OU=a+L=b,DC=x,DC=y",
        r"CN=node\, 1,OU=a+L=b+L=b,DC=x,DC=y",
        r"CN=node\, 1",
        "",
    ] {
        assert_eq!(find(&peer, &[other]), None, "{other}");
    }
}

/// nats-server's parser would accept the complete name at the front.
#[test]
fn incomplete_names_are_rejected() {
    for text in [
        "",
        "a",
        "CN",
        "=a",
        "CN=a,",
        "CN=a,O",
        "CN=a+",
        "CN=#04",
        "CN=a\\",
        "CN=\\+1\\g0",
        "CN=\\ff",
        ",CN=a",
    ] {
        assert_eq!(Subject::parse(text), None, "{text}");
    }
    assert_ne!(Subject::parse("CN=a,O="), Subject::parse("CN=a"));
    assert_eq!(find(&certificate(""), &["CN="]), None);
}

/// Few letters, so that generated names are often equal.
fn name() -> impl Strategy<Value = Vec<Vec<(usize, String)>>> {
    let attribute = (0..3usize, "[ab,+=#\\\\ é]{0,2}");
    prop::collection::vec(prop::collection::vec(attribute, 1..3), 1..4)
}

fn write(name: &[Vec<(usize, String)>]) -> String {
    let part = |part: &Vec<(usize, String)>| {
        let pairs = part.iter();
        let pairs = pairs.map(|(kind, value)| format!("{}={}", KNOWN[*kind], escaped(value)));
        pairs.collect::<Vec<_>>().join("+")
    };
    name.iter().map(part).collect::<Vec<_>>().join(",")
}

/// Reference implementation: the same parts, whatever their order and the order in them.
fn are_equal(one: &[Vec<(usize, String)>], other: &[Vec<(usize, String)>]) -> bool {
    let sort = |name: &[Vec<(usize, String)>]| {
        let mut name = name.to_vec();
        name.iter_mut().for_each(|part| part.sort());
        name.sort();
        name
    };
    sort(one) == sort(other)
}

proptest! {
    #[test]
    fn a_name_matches_only_equal_names(one in name(), other in name()) {
        let (first, second) = (write(&one), write(&other));
        let parsed = Subject::parse(&first).expect("a name");
        let values: Vec<Part> = one.iter().map(|part| {
            let mut part: Part = part
                .iter()
                .map(|(kind, value)| (KNOWN[*kind].to_owned(), value.clone()))
                .collect();
            part.sort();
            part
        }).collect();
        prop_assert_eq!(&parsed.parts, &values);
        let found = Mapping::new([&*second].into_iter())
            .find(&PeerCertificate { emails: vec![], dns_names: vec![], uris: vec![], ..certificate(&first) },
                |name| name == second)
            .is_some();
        let as_text = go_subjects(&first).contains(&second);
        prop_assert_eq!(found, are_equal(&one, &other) || as_text);
    }

    #[test]
    fn any_text_is_parsed_or_rejected(text in "\\PC{0,40}") {
        if let Some(name) = Subject::parse(&text) {
            prop_assert!(!name.parts.is_empty());
        }
        go_subjects(&text);
    }
}
