//! Distinguished names as text.

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Attributes that have a short name in RFC 2253 or in the tables that succeed it.
const NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.17", "POSTALCODE"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// The attributes that nats-server writes first, in its order, and whether only the last value
/// counts.
const STANDARD: &[(&str, bool)] = &[
    ("2.5.4.5", true),
    ("2.5.4.3", true),
    ("2.5.4.11", false),
    ("2.5.4.10", false),
    ("2.5.4.17", false),
    ("2.5.4.9", false),
    ("2.5.4.7", false),
    ("2.5.4.8", false),
    ("2.5.4.6", false),
];

/// The name in RFC 2253 form: the last part first.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let values: Vec<String> = part.iter().map(pair).collect();
            values.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// The name with its usual attributes in nats-server's order, whatever their order in the
/// certificate, followed by the others.
pub(super) fn standard_order(name: &X509Name<'_>) -> String {
    let mut parts = Vec::new();
    for (oid, only_last) in STANDARD {
        let mut values: Vec<String> = name
            .iter_attributes()
            .filter(|attribute| attribute.attr_type().to_id_string() == *oid)
            .map(pair)
            .collect();
        if *only_last {
            values.drain(..values.len().saturating_sub(1));
        }
        if !values.is_empty() {
            parts.push(values.join("+"));
        }
    }
    let mut others: Vec<String> = name
        .iter_attributes()
        .filter(|attribute| {
            let oid = attribute.attr_type().to_id_string();
            STANDARD.iter().all(|(standard, _)| *standard != oid)
        })
        .map(|attribute| match text(attribute) {
            Some(value) => format!(
                "{}={}",
                attribute.attr_type().to_id_string(),
                escaped(&value)
            ),
            None => encoded(attribute),
        })
        .collect();
    others.reverse();
    parts.extend(others);
    parts.join(",")
}

/// The last value of an attribute.
pub(super) fn attribute(name: &X509Name<'_>, oid: &str) -> Option<String> {
    name.iter_attributes()
        .filter(|attribute| attribute.attr_type().to_id_string() == oid)
        .last()
        .and_then(text)
}

fn pair(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = NAMES.iter().find(|(known, _)| *known == oid);
    match (known, text(attribute)) {
        (Some((_, name)), Some(value)) => format!("{name}={}", escaped(&value)),
        _ => encoded(attribute),
    }
}

/// An attribute without a short name, or whose value is not text: its OID and the DER.
fn encoded(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match x509_parser::asn1_rs::ToDer::to_der_vec(attribute.attr_value()) {
        Ok(der) => {
            let digits: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{oid}=#{digits}")
        }
        Err(_) => format!("{oid}="),
    }
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    attribute.as_str().ok().map(ToOwned::to_owned)
}

/// Escapes the characters of a value that have a meaning in a distinguished name.
pub(super) fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, letter) in value.chars().enumerate() {
        let special = matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (letter == ' ' && (at == 0 || at == last))
            || (letter == '#' && at == 0);
        if special {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}
