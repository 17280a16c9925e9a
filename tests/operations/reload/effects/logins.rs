//! Settings for logins and for access to the monitoring port.

use crate::reload::clients;
use test_support::{RawClient, http, wait_until};

use super::{Effect, Scene, error_of, line_with};

pub const EFFECTS: &[Effect] = &[
    ("authorization", authorization),
    ("no_auth_user", no_auth_user),
    ("tls", clients::tls_settings_apply_to_connected_clients),
    ("accounts", accounts),
    ("monitor token", monitor_token),
    ("monitor user", monitor_user),
    ("monitor password", monitor_password),
];

const USERS: &str = "users: [{ user: u, password: p }]";

/// Users, and the login timeout.
#[test]
fn authorization() {
    let mut scene = Scene::new("", "");
    let mut anonymous_client = scene.client();
    scene.reload(&format!("authorization {{ {USERS}, timeout: 60 }}"), "");
    assert!(error_of(&mut anonymous_client).contains("Authorization Violation"));
    let user = clients::login(&scene.member.broker, "u", "p").sync();
    assert!(user.is_empty(), "{user:?}");
    scene.reload(&format!("authorization {{ {USERS}, timeout: 0.1 }}"), "");
    let mut silent = RawClient::connect(scene.member.broker.client_addr());
    assert!(error_of(&mut silent).contains("Authentication Timeout"));
}

#[test]
fn no_auth_user() {
    let config = format!("authorization {{ {USERS} }}");
    let mut scene = Scene::new(&config, "");
    let broker = &scene.member.broker;
    let mut refused = clients::login(broker, "", "");
    assert!(error_of(&mut refused).contains("Authorization Violation"));
    scene.reload(&format!("{config}\nno_auth_user: u"), "");
    let mut anonymous_client = clients::login(&scene.member.broker, "", "");
    assert!(anonymous_client.sync().is_empty());
    scene.reload(&config, "");
    assert!(error_of(&mut anonymous_client).contains("Authorization Violation"));
}

/// A new account works for clients and peers, and so do its limits.
#[test]
fn accounts() {
    let mut scene = Scene::new("", "");
    let mut peer = scene.peer();
    let config = |limits: &str| format!("accounts {{ A {{ {USERS}, limits {{ {limits} }} }} }}");
    scene.reload(&config("max_subs: 2"), "");
    let mut user = clients::login(&scene.member.broker, "u", "p");
    user.send("SUB news 1\r\n");
    user.sync();
    line_with(&mut peer, "RS+ A news");
    peer.send("RS+ A theirs\r\n");
    wait_until("the peer's interest is known", || {
        scene.member.knows("theirs")
    });
    scene.reload(&config("max_subs: 1"), "");
    user.send("SUB more 2\r\n");
    let reported = user.sync();
    assert!(
        reported.iter().any(|it| it.verb() == b"-ERR"),
        "{reported:?}"
    );
}

/// The status of a monitoring request with this header.
fn status(scene: &Scene, header: &str) -> u16 {
    let address = scene.member.broker.monitor_addr();
    let request =
        format!("GET /varz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n");
    http::send(address, &request).status
}

#[test]
fn monitor_token() {
    let mut scene = Scene::new("", "");
    assert_eq!(status(&scene, ""), 200);
    scene.reload("monitor { token: t }", "");
    assert_eq!(status(&scene, ""), 401);
    assert_eq!(status(&scene, "Authorization: Bearer t\r\n"), 200);
}

/// User and password as an HTTP header.
const U_P: &str = "Authorization: Basic dTpw\r\n";
const V_P: &str = "Authorization: Basic djpw\r\n";
const U_Q: &str = "Authorization: Basic dTpx\r\n";

#[test]
fn monitor_user() {
    let mut scene = Scene::new("monitor { user: u, password: p }", "");
    assert_eq!((status(&scene, U_P), status(&scene, V_P)), (200, 401));
    scene.reload("monitor { user: v, password: p }", "");
    assert_eq!((status(&scene, U_P), status(&scene, V_P)), (401, 200));
}

#[test]
fn monitor_password() {
    let mut scene = Scene::new("monitor { user: u, password: p }", "");
    assert_eq!((status(&scene, U_P), status(&scene, U_Q)), (200, 401));
    scene.reload("monitor { user: u, password: q }", "");
    assert_eq!((status(&scene, U_P), status(&scene, U_Q)), (401, 200));
}
