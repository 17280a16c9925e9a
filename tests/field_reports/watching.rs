//! What checks lacked: usage relative to a limit, values without thresholds, and warnings
//! before an error.

use std::path::Path;

use crate::{both, check, client, run};
use test_support::{Broker, wait_until};

/// A request for a check that compares usage with a limit, and warns by percentage, for
/// any Nagios: of connections, at half and at three quarters.
#[test]
fn natscli_168_a_check_compares_usage_with_a_limit() {
    for builder in both() {
        let broker = builder.config("max_connections: 8").start();
        broker.wait_for_connections(0);
        let mode = ["--mode", "connections", "-w", "50%", "-c", "75%"];
        let mut clients = Vec::new();
        for (count, code, word) in [(3, 0, "OK"), (5, 1, "WARNING"), (7, 2, "CRITICAL")] {
            while clients.len() < count {
                clients.push(client(&broker, "one of many"));
            }
            let result = check(&broker, &mode);
            assert_eq!(result.code, Some(code), "{result:?}");
            assert!(
                result.output.starts_with(&format!("NATS {word}")),
                "{result:?}"
            );
            assert!(
                result.output.contains(&format!("connections={count};")),
                "{result:?}"
            );
        }
    }
}

/// A check reported whether a threshold was exceeded, but not the value, which was needed
/// elsewhere. It must report all values, without thresholds too, and in Prometheus format
/// on request.
#[test]
fn natscli_276_a_check_reports_its_values_without_thresholds() {
    for builder in both() {
        let broker = builder.start();
        let _clients = [client(&broker, "a"), client(&broker, "b")];
        broker.wait_for_connections(2);
        let result = check(&broker, &["--mode", "connections"]);
        assert_eq!(result.code, Some(0), "{result:?}");
        assert!(result.output.contains("connections=2"), "{result:?}");
        let result = check(
            &broker,
            &["--mode", "connections", "--format", "prometheus"],
        );
        assert_eq!(result.code, Some(0), "{result:?}");
        let mut lines = result.output.lines();
        assert!(
            lines.any(|line| line.contains("connections") && line.ends_with(" 2")),
            "{result:?}"
        );
        assert!(result.output.contains("# TYPE "), "{result:?}");
    }
}

/// A request for a single health check for a load balancer. The check uses the client
/// port and the monitoring port; a process that does not answer is critical, though its
/// ports are open.
#[test]
fn nats_server_1903_an_unresponsive_broker_is_not_healthy() {
    for builder in both() {
        let broker = builder.start();
        assert_eq!(check(&broker, &[]).code, Some(0));
        broker.signal(libc::SIGSTOP);
        // The kernel still accepts connections for it.
        assert!(test_support::broker::is_listening(broker.client_addr()));
        let result = check(&broker, &["-t", "1"]);
        assert_eq!(result.code, Some(2), "{result:?}");
        broker.signal(libc::SIGCONT);
        wait_until("it is healthy again", || {
            check(&broker, &[]).code == Some(0)
        });
    }
}

/// A tool pointed at the client port instead of the monitoring port got an HTTP error
/// that contained the broker's INFO. The check must say what it found.
#[test]
fn nats_top_103_the_client_port_is_distinguished_from_the_monitoring_port() {
    for builder in both() {
        let broker = builder.start();
        let port = broker.client_addr().port().to_string();
        let check_nats = Path::new(env!("CARGO_BIN_EXE_check_nats"));
        let result = run(check_nats, &["--mode", "connections", "-m", &port]);
        assert_eq!(result.code, Some(3), "{result:?}");
        assert!(!result.output.contains("server_id"), "{result:?}");
        assert!(result.output.contains("the client port"), "{result:?}");
    }
}

/// A dashboard of slow consumers stayed red for good, since the counter never decreases.
/// The check reports new ones by name, and is quiet in the next run.
#[test]
fn nats_server_296_a_slow_consumer_is_reported_once_by_name() {
    let state = tempfile::tempdir().expect("a folder");
    let state = state.path().display().to_string();
    let broker = Broker::midge().config("max_pending: 2MB").start();
    let mode = ["--mode", "slow", "--state-dir", &state, "-c", "0", "-v"];
    assert_eq!(check(&broker, &mode).code, Some(0));
    let mut stuck = client(&broker, "stuck-app");
    stuck.send("SUB a 1\r\n");
    stuck.sync();
    let mut publisher = client(&broker, "publisher");
    wait_until("it is disconnected", || {
        publisher.send(crate::publish("a", 60_000).repeat(10));
        publisher.sync();
        broker.get_json("/varz")["slow_consumers"] == 1
    });
    let result = check(&broker, &mode);
    assert_eq!(result.code, Some(2), "{result:?}");
    assert!(result.output.contains("stuck-app"), "{result:?}");
    let result = check(&broker, &mode);
    assert_eq!(result.code, Some(0), "{result:?}");
}
