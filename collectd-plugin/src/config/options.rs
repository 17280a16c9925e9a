//! The options of an `<Instance>` block: the table from which the parser and the manual page are
//! made.

use std::time::Duration;

use monitor_client::Secret;

use super::{Instance, check_name, item::Scalar};
use crate::metrics::Group;

const SECONDS_MIN: f64 = 0.1;
const SECONDS_MAX: f64 = 86_400.0;
const MILLISECONDS_MAX: f64 = 3_600_000.0;
const CONNECTIONS_MAX: f64 = 100.0;

/// One option of an `<Instance>` block.
pub(crate) struct InstanceOption {
    /// Key, in any case.
    pub(crate) name: &'static str,
    /// The argument, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) argument: &'static str,
    /// The default, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) default: &'static str,
    /// Meaning and unit, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) doc: &'static str,
    pub(super) set: fn(&mut Instance, &Scalar) -> Result<(), String>,
}

/// All options of an `<Instance>` block.
pub(crate) const OPTIONS: &[InstanceOption] = &[
    InstanceOption {
        name: "URL",
        argument: "URL",
        default: "the socket /run/midge/monitor.sock if it can be opened, else \
                  \"http://127.0.0.1:8222\"",
        doc: "The broker's monitoring port: http://HOST:PORT, https://HOST:PORT, with the path \
              prefix if the broker has one (http_base_path), or unix:PATH. Proxies are not used \
              and redirects not followed. Write 127.0.0.1 rather than localhost, which may mean \
              ::1 first. A name other than localhost is answered by midge only if it is the \
              host's own, or listed in the broker's option \"hosts\" of the block \"monitor\"; \
              otherwise the answer is HTTP status 421.",
        set: |instance, value| {
            instance.access.url = Some(value.text()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "Socket",
        argument: "Path",
        default: "none",
        doc: "The Unix socket of the broker (\"unix\" in its block \"monitor\"). It needs no \
              login. A URL given as well adds its path prefix only.",
        set: |instance, value| {
            instance.access.socket = Some(value.quoted()?.into());
            Ok(())
        },
    },
    InstanceOption {
        name: "User",
        argument: "Name",
        default: "none",
        doc: "User of the monitoring port, with Password or PasswordFile.",
        set: |instance, value| {
            instance.access.user = Some(value.quoted()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "Password",
        argument: "Password",
        default: "none",
        doc: "Password of that user. Everybody who can read the configuration of collectd knows it: \
              PasswordFile is better.",
        set: |instance, value| {
            instance.access.password = Some(Secret::new(value.quoted()?));
            Ok(())
        },
    },
    InstanceOption {
        name: "PasswordFile",
        argument: "Path",
        default: "none",
        doc: "File whose only line is the password.",
        set: |instance, value| {
            instance.access.password_file = Some(value.quoted()?.into());
            Ok(())
        },
    },
    InstanceOption {
        name: "TokenFile",
        argument: "Path",
        default: "none",
        doc: "File whose only line is the token of the monitoring port, instead of User.",
        set: |instance, value| {
            instance.access.token_file = Some(value.quoted()?.into());
            Ok(())
        },
    },
    InstanceOption {
        name: "CACert",
        argument: "Path",
        default: "the CAs of the system",
        doc: "File of the CAs, in PEM, that may have signed the broker's certificate; for https.",
        set: |instance, value| {
            instance.access.tls.ca = Some(value.quoted()?.into());
            Ok(())
        },
    },
    InstanceOption {
        name: "CertificateFile",
        argument: "Path",
        default: "none",
        doc: "File of the certificate, in PEM, that is shown to a broker that wants one; with its \
              chain. Needs CertificateKey.",
        set: |instance, value| {
            instance.access.tls.certificate = Some(value.quoted()?.into());
            Ok(())
        },
    },
    InstanceOption {
        name: "CertificateKey",
        argument: "Path",
        default: "none",
        doc: "File of the key of that certificate, in PEM and not encrypted.",
        set: |instance, value| {
            instance.access.tls.key = Some(value.quoted()?.into());
            Ok(())
        },
    },
    InstanceOption {
        name: "VerifyPeer",
        argument: "true|false",
        default: "true",
        doc: "With false, any certificate of the broker is accepted, for any host name: everybody who \
              can answer in its place learns the login.",
        set: |instance, value| {
            instance.access.tls.insecure = !value.boolean()?;
            Ok(())
        },
    },
    InstanceOption {
        name: "Timeout",
        argument: "Milliseconds",
        default: "2000, or half the interval if that is less",
        doc: "Time that a poll may take, all its requests together; half the interval at most. \
              Stopping collectd waits for a poll under way. A broker that hangs holds one of \
              collectd's ReadThreads (5) for this time: if more may hang at once than there are \
              threads, have more of these.",
        set: |instance, value| {
            let milliseconds = value.number(1.0, MILLISECONDS_MAX)?;
            instance.timeout = Some(Duration::from_secs_f64(milliseconds / 1000.0));
            Ok(())
        },
    },
    InstanceOption {
        name: "Interval",
        argument: "Seconds",
        default: "the interval of collectd or of the LoadPlugin block",
        doc: "Time between two polls of this broker, from 0.1 to 86400.",
        set: |instance, value| {
            let seconds = value.number(SECONDS_MIN, SECONDS_MAX)?;
            instance.interval = Some(Duration::from_secs_f64(seconds));
            Ok(())
        },
    },
    InstanceOption {
        name: "Host",
        argument: "Name",
        default: "the host name of collectd",
        doc: "Host that is reported with the values, for a broker on another machine. Instances \
              of different hosts may have the same name.",
        set: |instance, value| {
            instance.host = Some(check_name(&value.text()?)?);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportNotifications",
        argument: "true|false",
        default: "true",
        doc: "Send notifications about the state of the broker and, with ReportFindings, about its \
              findings; see NOTIFICATIONS.",
        set: |instance, value| {
            instance.report_notifications = value.boolean()?;
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportFindings",
        argument: "true|false",
        default: "true",
        doc: "Dispatch the numbers of findings, and notify each one that appears, changes or clears. bool-healthy follows the critical ones in any case.",
        set: |instance, value| {
            report(instance, Group::Findings, value.boolean()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportLatency",
        argument: "true|false",
        default: "true",
        doc: "Dispatch how long messages stay in the broker, how late its threads are, and round trips to clients.",
        set: |instance, value| {
            report(instance, Group::Latency, value.boolean()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportRoutes",
        argument: "true|false",
        default: "true",
        doc: "Dispatch the members of the cluster and the traffic, queue and round trip time of the routes to each.",
        set: |instance, value| {
            report(instance, Group::Routes, value.boolean()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportCeilings",
        argument: "true|false",
        default: "true",
        doc: "Dispatch the use of everything that has a limit, and when it will be used up.",
        set: |instance, value| {
            report(instance, Group::Ceilings, value.boolean()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "TopConnections",
        argument: "Number",
        default: "3",
        doc: "Dispatch the lengths of this many of the longest queues of clients, by rank; 0 to 100. 0 asks for no connections.",
        set: |instance, value| {
            let number = value.number(0.0, CONNECTIONS_MAX)?;
            if number.fract() != 0.0 {
                return Err(format!("{value} is not a whole number"));
            }
            instance.top_connections = number as usize;
            report(instance, Group::Connections, instance.top_connections > 0);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportAccounts",
        argument: "true|false",
        default: "false",
        doc: "Dispatch connections, subscriptions, traffic and losses of each account.",
        set: |instance, value| {
            report(instance, Group::Accounts, value.boolean()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportMemory",
        argument: "true|false",
        default: "false",
        doc: "Dispatch the memory by what holds it.",
        set: |instance, value| {
            report(instance, Group::Memory, value.boolean()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "ReportLimits",
        argument: "true|false",
        default: "false",
        doc: "Dispatch the limits of the broker's configuration.",
        set: |instance, value| {
            report(instance, Group::Limits, value.boolean()?);
            Ok(())
        },
    },
    InstanceOption {
        name: "LegacyNames",
        argument: "true|false",
        default: "false",
        doc: "Dispatch the identifiers curl_json-gnatsd/… of the common curl_json configuration for gnatsd as well, so that old data files are continued. Only one instance of a host can have them.",
        set: |instance, value| {
            report(instance, Group::Legacy, value.boolean()?);
            Ok(())
        },
    },
];

fn report(instance: &mut Instance, group: Group, wanted: bool) {
    match wanted {
        true => instance.groups.insert(group),
        false => instance.groups.remove(&group),
    };
}

/// The option with this key, in any case.
pub(super) fn find(key: &str) -> Option<&'static InstanceOption> {
    OPTIONS
        .iter()
        .find(|option| option.name.eq_ignore_ascii_case(key))
}
