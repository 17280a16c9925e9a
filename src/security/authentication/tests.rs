use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::protocol::nkey::UserKey;

fn user(name: &str, password: &str) -> User {
    User {
        name: name.into(),
        proof: Proof::Password(Secret::new(password).expect("a password")),
        account: "A".into(),
        connection_types: Vec::new(),
        sources: Vec::new(),
        permissions: None,
    }
}

fn credentials(user: &str, password: &str, token: &str) -> Credentials {
    Credentials {
        user: user.into(),
        password: password.into(),
        token: token.into(),
        ..Credentials::default()
    }
}

/// The decision about the credentials of a client, including a slow comparison.
fn decide(authorization: &Authorization, credentials: &Credentials) -> Result<Who, Refusal> {
    let authentication = Authentication::new(authorization);
    let verdict = authentication.identify(&LoginAttempt {
        credentials,
        connection_type: ConnectionType::Standard,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        certificate: None,
        nonce: "",
        proved: 0,
    });
    let login = match verdict {
        Verdict::Accept(login) => login,
        Verdict::Check(check) => check.run()?,
        Verdict::Refuse(refusal) => return Err(refusal),
    };
    Ok((login.user, login.account))
}

type Who = (String, String);

fn login(user: &str, account: &str) -> Result<Who, Refusal> {
    Ok((user.into(), account.into()))
}

/// When a login is checked again, a hash is compared only if it has changed; other changes to the
/// user do not matter.
#[test]
fn a_proof_is_valid_until_the_secret_changes() {
    let hash = |password| bcrypt::hash(password, 4).expect("a hash");
    let (first, second) = (hash("p"), hash("p"));
    let shown = credentials("a", "p", "");
    let ask = |users: &[User], proved| {
        let authentication = Authentication::new(&Authorization {
            users: users.to_vec(),
            ..Authorization::default()
        });
        authentication.identify(&LoginAttempt {
            credentials: &shown,
            connection_type: ConnectionType::Standard,
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            certificate: None,
            nonce: "",
            proved,
        })
    };
    let a = user("a", &first);
    let Verdict::Check(check) = ask(std::slice::from_ref(&a), 0) else {
        panic!("not compared");
    };
    let proof = check.run().expect("the right password").proof;
    let moved = User {
        account: "B".into(),
        permissions: Some(crate::security::permissions::Rules::default()),
        ..a.clone()
    };
    for (users, account) in [(vec![a.clone()], "A"), (vec![user("b", "q"), moved], "B")] {
        let Verdict::Accept(login) = ask(&users, proof) else {
            panic!("compared again");
        };
        assert_eq!((&*login.account, login.proof), (account, proof));
    }
    assert!(matches!(
        ask(&[user("a", &second)], proof),
        Verdict::Check(_)
    ));
    assert!(matches!(ask(&[user("a", "q")], proof), Verdict::Refuse(_)));
    assert!(matches!(
        ask(&[user("b", &first)], proof),
        Verdict::Check(_)
    ));
}

/// A client that became a user without a proof has proved nothing once that user must log in.
#[test]
fn a_guest_has_no_proof() {
    let key = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L";
    let mut with_key = user(key, "");
    with_key.proof = Proof::Key(UserKey::parse(key).expect("a key"));
    for (guest, credentials) in [
        (user("g", "p"), credentials("", "", "")),
        (
            with_key,
            Credentials {
                nkey: key.into(),
                ..Credentials::default()
            },
        ),
    ] {
        let mut authorization = Authorization {
            no_auth_user: Some(guest.name.clone()),
            users: vec![guest],
            ..Authorization::default()
        };
        let ask = |authorization: &Authorization, proved| {
            Authentication::new(authorization).identify(&LoginAttempt {
                credentials: &credentials,
                connection_type: ConnectionType::Standard,
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                certificate: None,
                nonce: "",
                proved,
            })
        };
        let Verdict::Accept(login) = ask(&authorization, 0) else {
            panic!("the guest is not let in");
        };
        authorization.no_auth_user = None;
        let again = ask(&authorization, login.proof);
        assert!(matches!(again, Verdict::Refuse(_)));
    }
}

#[test]
fn without_users_every_client_is_accepted() {
    let open = Authorization::default();
    assert!(!Authentication::new(&open).is_required());
    assert_eq!(decide(&open, &credentials("", "", "")), login("", "$G"));
    assert_eq!(decide(&open, &credentials("u", "x", "")), login("u", "$G"));
    let token = credentials("", "", "hidden");
    assert_eq!(decide(&open, &token), login("[REDACTED]", "$G"));
    assert!(!format!("{token:?}").contains("hidden"));
}

#[test]
fn users_log_in_with_their_own_password() {
    let hash = bcrypt::hash("hashed", 4).expect("a hash");
    let authorization = Authorization {
        users: vec![user("a", "plain"), user("b", &hash), user("open", "")],
        ..Authorization::default()
    };
    let decide = |name, password| decide(&authorization, &credentials(name, password, ""));
    assert_eq!(decide("a", "plain"), login("a", "A"));
    assert_eq!(decide("b", "hashed"), login("b", "A"));
    assert_eq!(decide("open", ""), login("open", "A"));
    for (name, password, refusal) in [
        ("a", "hashed", Refusal::WrongPassword),
        ("a", "", Refusal::WrongPassword),
        ("b", "plain", Refusal::WrongPassword),
        ("b", &hash, Refusal::WrongPassword),
        ("open", "x", Refusal::WrongPassword),
        ("x", "plain", Refusal::UnknownUser),
        ("A", "plain", Refusal::UnknownUser),
        ("", "", Refusal::NoCredentials),
        ("", "plain", Refusal::NoCredentials),
    ] {
        assert_eq!(decide(name, password), Err(refusal), "{name} {password}");
    }
}

#[test]
fn the_single_user_needs_its_own_name() {
    let sole = SoleLogin::User {
        name: "u".into(),
        password: Secret::new("p").expect("plain"),
    };
    let authorization = Authorization {
        sole: Some(sole),
        ..Authorization::default()
    };
    let mut shown = credentials("u", "p", "");
    shown.nkey = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L".into();
    assert_eq!(decide(&authorization, &shown), login("u", "$G"));
}

#[test]
fn an_unknown_user_takes_as_long_as_a_known_one() {
    let hash = bcrypt::hash("hashed", 4).expect("a hash");
    let of_users = Authorization {
        users: vec![user("a", "plain"), user("b", &hash)],
        ..Authorization::default()
    };
    let sole = Authorization {
        sole: Some(SoleLogin::User {
            name: "b".into(),
            password: Secret::new(&hash).expect("a hash"),
        }),
        ..Authorization::default()
    };
    for authorization in [of_users, sole] {
        let authentication = Authentication::new(&authorization);
        for name in ["b", "x"] {
            let verdict = authentication.identify(&LoginAttempt {
                credentials: &credentials(name, "wrong", ""),
                connection_type: ConnectionType::Standard,
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                certificate: None,
                nonce: "",
                proved: 0,
            });
            assert!(matches!(verdict, Verdict::Check(_)), "{name}");
        }
    }
}

#[test]
fn a_token_is_the_only_credential_that_counts() {
    let token = Secret::new("t").expect("plain");
    let authorization = Authorization {
        sole: Some(SoleLogin::Token(token)),
        ..Authorization::default()
    };
    let decide = |user, token| decide(&authorization, &credentials(user, "", token));
    assert_eq!(decide("", "t"), login("[REDACTED]", "$G"));
    assert_eq!(decide("u", "t"), login("u", "$G"));
    assert_eq!(decide("t", ""), Err(Refusal::WrongToken));
    assert_eq!(decide("", "x"), Err(Refusal::WrongToken));
    assert_eq!(decide("", ""), Err(Refusal::NoCredentials));
}

#[test]
fn only_clients_without_credentials_become_no_auth_user() {
    let mut authorization = Authorization {
        users: vec![user("u", "p")],
        no_auth_user: Some("u".into()),
        ..Authorization::default()
    };
    assert!(Authentication::new(&authorization).admits_without_credentials());
    let silence = credentials("", "", "");
    assert_eq!(decide(&authorization, &silence), login("u", "A"));
    for (user, password, token) in [("u", "", ""), ("", "p", ""), ("", "", "t")] {
        let shown = credentials(user, password, token);
        assert!(decide(&authorization, &shown).is_err(), "{shown:?}");
    }
    authorization.users[0].connection_types = vec![ConnectionType::Websocket];
    assert_eq!(
        decide(&authorization, &silence),
        Err(Refusal::ConnectionType)
    );
}
