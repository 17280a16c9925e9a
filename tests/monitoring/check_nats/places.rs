//! Where a broker is: forms of `-H`, monitoring ports with https, logins and Unix sockets, and
//! brokers that say themselves where their client port is.

use std::{fs, net::SocketAddr};

use tempfile::TempDir;

use super::{
    bad_peers::answers,
    plugin::{PluginOutput, brokers, check_ports, judge, judge_with, mode},
};
use test_support::{Broker, free_address, free_port, pki::Pki};

/// Mode `health` with these arguments.
fn health(arguments: &[&str]) -> PluginOutput {
    judge(&[arguments, &mode("health")].concat())
}

#[test]
fn all_forms_of_a_host_lead_to_the_broker() {
    let broker = Broker::midge().start();
    let port = broker.client_addr().port();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("nats://127.0.0.1:{port}"),
        format!("nats://localhost:{port}/"),
    ] {
        judge(&[&["-H", &host][..], &mode("connect")].concat()).expect(0, "rtt");
    }
    // A zone is looked up by the system, which knows no interface of this name.
    judge(&["-H", "fe80::1%nosuchif0", "--mode", "connect"])
        .expect(3, "host \"fe80::1%nosuchif0\" not resolved");
    judge(&["-H", "fe80::1%nosuchif0", "--mode", "connections"])
        .expect(3, "no URL of a monitoring port can hold the zone");
    judge(&["-H", "::1", "-p", &port.to_string(), "--mode", "connect"]).expect(2, "[::1]:");
}

/// With the monitoring port alone, /varz says where the client port is.
#[test]
fn the_broker_says_where_its_client_port_is() {
    for builder in brokers() {
        let broker = builder.start();
        let url = broker.monitor_url();
        for name in ["health", "connect", "roundtrip", "lameduck"] {
            let result = judge(&[&["-u", &url, "-vv"][..], &mode(name)].concat());
            assert_eq!(result.code, 0, "{result:?}");
            let asked = format!("asked nats://{}", broker.client_addr());
            assert!(result.output.contains(&asked), "{result:?}");
        }
        let monitor = broker.monitor_addr().port().to_string();
        health(&["-m", &monitor]).expect(0, "rtt");
    }
    let gone = format!("http://{}", free_address());
    judge(&["-u", &gone, "--mode", "connect"])
        .expect(2, "NATS CRITICAL: http://127.0.0.1")
        .expect(
            2,
            "/varz: connection refused; so the client port is not known: give it",
        );
    judge(&["-u", &gone]).expect(
        2,
        "/varz: connection refused, the client port is not known: give it with -H or -p",
    );
    let silent = answers("200 OK", "{\"server_id\":\"N1\",\"port\":0,\"host\":\"\"}");
    judge(&["-u", &format!("http://{silent}"), "--mode", "connect"])
        .expect(3, "the client port is not known");
}

/// /varz says that TLS is required: a broker whose INFO does not is not believed.
#[test]
fn varz_says_that_tls_is_required() {
    let plain = Broker::nats_server().start();
    let port = plain.client_addr().port();
    let varz = format!(
        "{{\"server_id\":\"N1\",\"host\":\"127.0.0.1\",\"port\":{port},\"tls_required\":true}}"
    );
    let monitor = answers("200 OK", &varz);
    judge(&["-u", &format!("http://{monitor}"), "--mode", "connect"])
        .expect(2, "has no TLS, but it must have");
}

/// https with and without a certificate of the check, on midge and nats-server.
#[test]
fn the_monitoring_port_may_have_https() {
    let pki = Pki::new(&["broker", "nagios"]);
    let (ca, certificate, key) = (
        pki.text("ca.pem"),
        pki.text("nagios.pem"),
        pki.text("nagios.key"),
    );
    for builder in brokers() {
        let port = free_port();
        let config = format!(
            "https: \"127.0.0.1:{port}\"\ntls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, \
             verify: true }}\n",
            pki.text("broker.pem"),
            pki.text("broker.key"),
            pki.text("ca.pem")
        );
        let broker = builder.without_monitoring().config(config).start();
        let url = format!("https://localhost:{port}");
        let own = [
            "-u",
            &url,
            "--cacert",
            &ca,
            "--cert",
            &certificate,
            "--key",
            &key,
        ];
        health(&own).expect(0, "0 slow consumers");
        judge(&[&own[..], &["--mode", "connections"]].concat()).expect(0, " connection");
        judge(&["-u", &url, "--mode", "connections"]).expect(3, "--cacert");
        drop(broker);
    }
}

#[test]
fn the_monitoring_port_may_need_a_login() {
    let folder = TempDir::new().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (password, token, wrong) = (
        write("password", "canary-p\n"),
        write("token", "canary-t\n"),
        write("wrong", "canary-w"),
    );
    let with_password = Broker::midge()
        .config("monitor { user: ops, password: \"canary-p\" }")
        .start();
    let with_token = Broker::midge()
        .config("monitor { token: \"canary-t\" }")
        .start();
    let at = |broker: &Broker, environment: &[(&str, &str)], more: &[&str]| {
        let url = broker.monitor_url();
        let arguments = [&["-u", &url, "-vvv"], more, &mode("health")].concat();
        let result = judge_with(environment, &arguments);
        assert!(!result.output.contains("canary"), "{result:?}");
        result
    };
    let ops = ["--monitor-user", "ops", "--monitor-password-file"];
    at(&with_password, &[], &[&ops[..], &[&password]].concat()).expect(0, "0 slow consumers");
    at(
        &with_password,
        &[("MONITOR_USER", "ops"), ("MONITOR_PASSWORD", "canary-p")],
        &[],
    )
    .expect(0, "0 slow consumers");
    at(&with_password, &[], &[&ops[..], &[&wrong]].concat()).expect(3, "HTTP status 401");
    at(&with_password, &[], &[]).expect(3, "HTTP status 401");
    at(&with_token, &[], &["--monitor-token-file", &token]).expect(0, "0 slow consumers");
    at(&with_token, &[("MONITOR_TOKEN", "canary-t")], &[]).expect(0, "0 slow consumers");
    at(&with_token, &[], &["--monitor-token-file", "/no/such"]).expect(3, "/no/such: ");
}

#[test]
fn the_monitoring_port_may_be_a_unix_socket() {
    let folder = TempDir::new().expect("a folder");
    let socket = folder.path().join("monitor.sock").display().to_string();
    let config = format!("monitor {{ unix: {socket:?}, token: t }}\n");
    let broker = Broker::midge().config(config).start();
    for arguments in [["--socket", &*socket], ["-u", &format!("unix:{socket}")]] {
        let result = health(&[&arguments[..], &["-vv"]].concat());
        result.expect(0, "0 slow consumers");
        let asked = format!("asked nats://{}", broker.client_addr());
        assert!(result.output.contains(&asked), "{result:?}");
    }
    judge(&["--socket", "/no/such", "--mode", "connections"]).expect(3, "there is no such socket");
}

/// The line in which a broker says what to do arrives.
#[test]
fn the_remedy_of_a_refusal_arrives() {
    let broker = Broker::midge().start();
    let body = "{}\nnot for you: add the name to hosts\n";
    let refusing: SocketAddr = answers("421 Misdirected Request", &body[3..]);
    check_ports(broker.client_addr(), refusing, &[])
        .expect(3, "HTTP status 421: not for you: add the name to hosts");
}
