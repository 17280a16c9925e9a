//! Which user a client's certificate names, for `verify_and_map`.
//!
//! [`super::authentication`] uses it for clients, and the routes for brokers. Source: nats-server
//! 2.15 `server/auth.go` (`checkClientTLSCertSubject`) and `internal/ldap/dn.go`. A user name in
//! the configuration matches a certificate if it is, in this order: one of the certificate's e-mail
//! addresses, DNS names or URIs; its subject; the parts of its subject in another order; its
//! subject as Go writes it. What is not a distinguished name is rejected more strictly than in
//! nats-server, which drops a part without a value at the end, so that `CN=a,O=` equals `CN=a`
//! there.

use super::certificate::PeerCertificate;

/// Attribute types that nats-server knows. A subject with others is only compared as text.
const KNOWN: &[&str] = &[
    "CN",
    "SERIALNUMBER",
    "C",
    "L",
    "ST",
    "STREET",
    "O",
    "OU",
    "POSTALCODE",
    "DC",
];

/// The orders in which Go writes them (since 1.27, and before), and whether only the last value
/// counts. A nats-server uses the order of the Go version it was built with.
const GO_ORDERS: [&[(&str, bool)]; 2] = [
    &[
        ("SERIALNUMBER", true),
        ("CN", true),
        ("OU", false),
        ("O", false),
        ("POSTALCODE", false),
        ("STREET", false),
        ("L", false),
        ("ST", false),
        ("C", false),
    ],
    &[
        ("SERIALNUMBER", true),
        ("CN", true),
        ("POSTALCODE", false),
        ("STREET", false),
        ("ST", false),
        ("L", false),
        ("OU", false),
        ("O", false),
        ("C", false),
    ],
];

/// A user name, with its parsed form as a distinguished name.
struct Name {
    user: String,
    subject: Subject,
}

/// The user names that are distinguished names, in the order of the configuration.
pub(super) struct Mapping(Vec<Name>);

impl Mapping {
    pub(super) fn new<'a>(users: impl Iterator<Item = &'a str>) -> Self {
        let names = users.filter_map(|user| {
            let subject = Subject::parse(user)?;
            let user = user.to_owned();
            Some(Name { user, subject })
        });
        Self(names.collect())
    }

    /// The first user that the certificate names and `is_allowed` accepts.
    pub(super) fn find(
        &self,
        certificate: &PeerCertificate,
        is_allowed: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let alternatives = [
            &certificate.emails,
            &certificate.dns_names,
            &certificate.uris,
        ];
        let named = alternatives.into_iter().flatten();
        if let Some(name) = named
            .filter(|name| !name.is_empty())
            .find(|name| is_allowed(name))
        {
            return Some(name.clone());
        }
        let subject = Subject::parse(&certificate.subject);
        let by_subject = subject.filter(Subject::is_known).and_then(|subject| {
            let names = || self.0.iter().filter(|name| is_allowed(&name.user));
            let same = names().find(|name| name.subject.parts == subject.parts);
            let of_same_parts = || names().find(|name| name.subject.sorted == subject.sorted);
            same.or_else(of_same_parts)
        });
        if let Some(name) = by_subject {
            return Some(name.user.clone());
        }
        let texts = go_subjects(&certificate.subject);
        texts.into_iter().find(|text| is_allowed(text))
    }
}

/// Whether a certificate names this one user.
pub fn names_user(certificate: &PeerCertificate, user: &str) -> bool {
    let found = Mapping::new(std::iter::once(user)).find(certificate, |name| name == user);
    found.is_some()
}

/// Type (upper case) and value.
type Attribute = (String, String);

/// The attributes of one part of a name, sorted because their order has no meaning.
type Part = Vec<Attribute>;

/// A distinguished name.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Subject {
    /// The last part first.
    parts: Vec<Part>,
    sorted: Vec<Part>,
}

impl Subject {
    /// Parses RFC 2253 and RFC 4514 text; blanks around types and values are allowed. `None` if it
    /// is not a distinguished name.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        for mut part in attributes(text)? {
            part.sort_unstable();
            parts.push(part);
        }
        let mut sorted = parts.clone();
        sorted.sort_unstable();
        Some(Self { parts, sorted })
    }

    fn is_known(&self) -> bool {
        let mut types = self.parts.iter().flatten().map(|(name, _)| &**name);
        types.all(|name| KNOWN.contains(&name))
    }
}

/// The parts of a name in the order of the text, unsorted.
fn attributes(text: &str) -> Option<Vec<Part>> {
    let mut parts = vec![Vec::new()];
    let mut rest = text.as_bytes();
    loop {
        let (name, end) = read(&mut rest, b"=,+")?;
        if name.is_empty() || end != Some(b'=') {
            return None;
        }
        // A `#` introduces BER, which is not supported.
        if rest.first() == Some(&b'#') {
            return None;
        }
        let (value, end) = read(&mut rest, b",+")?;
        let part = parts.last_mut()?;
        part.push((name.to_ascii_uppercase(), value));
        match end {
            None => return Some(parts),
            Some(b',') => parts.push(Vec::new()),
            Some(_) => {}
        }
    }
}

/// Reads up to one of these bytes and consumes it. Resolves escapes and drops unescaped blanks at
/// both ends.
fn read(rest: &mut &[u8], ends: &[u8]) -> Option<(String, Option<u8>)> {
    let mut bytes = Vec::new();
    // Length up to the last byte that is not a blank or was escaped.
    let mut kept = 0;
    let mut end = None;
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        match *byte {
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                let mut len = 0;
                if !b" \"#+,;<=>\\".contains(escaped) {
                    let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                    // `from_str_radix` would accept "+1".
                    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    let number = u8::from_str_radix(digits, 16).ok().filter(|_| are_digits)?;
                    bytes.push(number);
                    len = 1;
                } else {
                    bytes.push(*escaped);
                }
                *rest = after.get(len..)?;
                kept = bytes.len();
            }
            byte if ends.contains(&byte) => {
                end = Some(byte);
                break;
            }
            b' ' if bytes.is_empty() => {}
            byte => {
                bytes.push(byte);
                if byte != b' ' {
                    kept = bytes.len();
                }
            }
        }
    }
    bytes.truncate(kept);
    Some((String::from_utf8(bytes).ok()?, end))
}

/// The subject in Go's fixed orders, which cover fewer attributes: once followed by the domain
/// components, if there are any, and once without.
fn go_subjects(subject: &str) -> Vec<String> {
    let texts = GO_ORDERS
        .iter()
        .map(|order| subject_in_order(subject, order));
    texts.flatten().collect()
}

fn subject_in_order(subject: &str, order: &[(&str, bool)]) -> Vec<String> {
    // Attributes given as BER are none of those that Go writes.
    let mut parts = Vec::new();
    for part in split(subject) {
        parts.extend(attributes(part).into_iter().flatten().flatten());
    }
    // RFC 2253 puts the last part first.
    parts.reverse();
    let of = |wanted: &str| -> Vec<&str> {
        let found = parts.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, value)| &**value).collect()
    };
    let mut written = Vec::new();
    for (name, only_last) in order {
        let mut values = of(name);
        if *only_last {
            values.drain(..values.len().saturating_sub(1));
        }
        let pairs = values
            .iter()
            .filter(|value| !(value.is_empty() && *only_last));
        let pairs: Vec<String> = pairs
            .map(|value| format!("{name}={}", super::distinguished_name::escaped(value)))
            .collect();
        if !pairs.is_empty() {
            written.push(pairs.join("+"));
        }
    }
    let written = written.join(",");
    let components: Vec<String> = of("DC").iter().map(|value| format!("DC={value}")).collect();
    let mut texts = Vec::new();
    if !components.is_empty() {
        texts.push(format!("{written},{}", components.join(",")));
    }
    texts.extend((!written.is_empty()).then_some(written));
    texts
}

/// The single attributes of a subject, still escaped.
fn split(subject: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, byte) in subject.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' | b'+' => {
                pieces.push(&subject[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&subject[start..]);
    pieces
}

#[cfg(test)]
mod tests;
