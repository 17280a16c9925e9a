//! What a session reports of a port that does not do its part.

use std::net::TcpListener;

use monitor_client::Tls;

use super::*;
use crate::status::Status;

/// A port that accepts a connection and says nothing is late like everywhere else, with the
/// status that the operator chose for that.
#[test]
fn a_certificate_that_is_not_shown_in_time_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = "127.0.0.1".to_owned();
    let port = ClientPort {
        address: Address {
            host: host.clone(),
            port: listener.local_addr().unwrap().port(),
        },
        tls: true,
        name: host,
        name_is_certain: false,
        is_local: true,
        is_asked: true,
    };
    let options = ClientTls {
        first: true,
        required: true,
        server_name: None,
        puppet: false,
        ssl_dir: None,
        files: Tls::default(),
    };
    for (chosen, status) in [
        (None, Status::Critical),
        (Some(Status::Warning), Status::Warning),
    ] {
        let deadline = Deadline::new(Duration::from_millis(300), chosen);
        let Err(error) = Session::certificate(&options, &port, &deadline) else {
            panic!("nothing was shown");
        };
        let failure = error.into_failure();
        assert_eq!(failure.status, status, "{}", failure.text);
        assert!(
            failure.text.starts_with("no time left after"),
            "{}",
            failure.text
        );
    }
}
