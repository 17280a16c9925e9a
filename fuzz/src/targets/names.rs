//! Distinguished names: parsing certificates, and which user a certificate names
//! (`verify_and_map`).

use std::collections::BTreeSet;

use midge::{
    protocol::connect::Credentials,
    security::{
        authentication::{Authentication, LoginAttempt},
        certificate::{Fingerprint, PeerCertificate},
        users::{Authorization, ConnectionType, GLOBAL_ACCOUNT, Proof, User},
        verdict::Verdict,
    },
};

/// Either a certificate in DER, or text whose first line is a subject and whose other lines are
/// user names.
pub fn names(bytes: &[u8]) {
    if let Ok(certificate) = PeerCertificate::from_der(bytes) {
        assert!(Fingerprint::from_der(bytes).is_ok());
        let own = certificate.subject.clone();
        identify(&certificate, &BTreeSet::from([&*own]));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut lines = text.split('\n');
    let subject = lines.next().unwrap_or("");
    let users: BTreeSet<&str> = lines.take(8).filter(|name| !name.is_empty()).collect();
    if users.is_empty() {
        return;
    }
    let certificate = PeerCertificate {
        subject: subject.to_owned(),
        common_name: String::new(),
        emails: Vec::new(),
        dns_names: Vec::new(),
        uris: Vec::new(),
        serial: String::new(),
        issuer: Box::default(),
        not_before: Default::default(),
        not_after: Default::default(),
    };
    let found = identify(&certificate, &users);
    let Some(parts) = plain(subject) else {
        return;
    };
    // For simple names the result can be computed independently.
    let is_equal = |user: &&&str| plain(user).is_some_and(|other| sorted(&other) == sorted(&parts));
    match &found {
        Some(name) => {
            let of_user = plain(name).unwrap_or_default();
            assert!(
                of_user.iter().all(|pair| parts.contains(pair)),
                "{name:?} stands for {subject:?}"
            );
        }
        None => assert_eq!(users.iter().find(is_equal), None, "{subject:?}"),
    }
}

/// Which of these users the certificate names.
fn identify(certificate: &PeerCertificate, users: &BTreeSet<&str>) -> Option<String> {
    let user = |name: &&str| User {
        name: (*name).to_owned(),
        proof: Proof::Password(Default::default()),
        account: GLOBAL_ACCOUNT.to_owned(),
        connection_types: Vec::new(),
        sources: Vec::new(),
        permissions: None,
    };
    let authentication = Authentication::new(&Authorization {
        users: users.iter().map(user).collect(),
        maps_certificates: true,
        ..Authorization::default()
    });
    let verdict = authentication.identify(&LoginAttempt {
        proved: 0,
        credentials: &Credentials::default(),
        connection_type: ConnectionType::Standard,
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        certificate: Some(certificate),
        nonce: "",
    });
    let Verdict::Accept(login) = verdict else {
        return None;
    };
    assert!(users.contains(&*login.user), "{:?}", login.user);
    Some(login.user)
}

/// The pairs of a name that consists only of known types and alphanumeric values.
fn plain(text: &str) -> Option<Vec<(&str, &str)>> {
    text.split(',')
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let is_plain = ["CN", "O", "OU", "L", "C"].contains(&name)
                && !value.is_empty()
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_plain.then_some((name, value))
        })
        .collect()
}

fn sorted<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    pairs
}
