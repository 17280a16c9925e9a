//! `/accountz`: the accounts, or one in detail.

use std::collections::BTreeMap;

use monitor_client::{
    AccountDetail, AccountExport, AccountImport, AccountLatency, Accountz, MappingDestination,
    SamplingRate,
};

use super::{
    super::Monitor, query::Query, refusal::Refusal, subsz, time_text::rfc3339, varz::signed,
};
use crate::{
    account::{Account, GLOBAL_ACCOUNT},
    config::accounts::{
        AccountConfig, ExportKind, Import, ImportKind, LatencySampling, Mapping, ResponseKind,
        ServiceLatency,
    },
    subject::is_subset,
};

/// The accounts, or the one that `acc` names in detail.
///
/// # Errors
///
/// There is none of this name.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Accountz, Refusal> {
    let name = query.text("acc");
    let accounts = &monitor.server.broker.accounts;
    let mut accountz = Accountz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        system_account: accounts.system_name(),
        ..Accountz::default()
    };
    if name.is_empty() {
        let names = accounts.all().into_iter();
        accountz.accounts = names.map(|account| account.name.clone()).collect();
    } else {
        let account = accounts
            .find(&name)
            .ok_or_else(|| Refusal::bad_request(format!("Account {name} does not exist")))?;
        accountz.account_detail = Some(detail(monitor, &account));
    }
    Ok(accountz)
}

fn detail(monitor: &Monitor, account: &Account) -> AccountDetail {
    let stats = subsz::stats(account);
    let options = monitor.server.options();
    let global = AccountConfig {
        mappings: options.mappings.clone(),
        ..AccountConfig::default()
    };
    let config = match &*account.name {
        GLOBAL_ACCOUNT => Some(&global),
        name => options.accounts.iter().find(|config| config.name == name),
    };
    AccountDetail {
        account_name: account.name.clone(),
        update_time: rfc3339(monitor.server.start()),
        is_system: account.is_system,
        complete: true,
        client_connections: signed(account.connections()),
        connections_elsewhere: account
            .limits()
            .max_connections
            .map(|_| account.remote_connections() as u64),
        subscriptions: stats.num_subscriptions,
        name_tag: account.name.clone(),
        mappings: config.map(mappings).unwrap_or_default(),
        exports: match account.is_system {
            true => system_exports(),
            false => config.map(exports).unwrap_or_default(),
        },
        imports: {
            let own = config.map(|config| imports(config, &options.accounts));
            let own = own.unwrap_or_default();
            own.into_iter()
                .chain(system_imports(monitor, account))
                .collect()
        },
        sublist_stats: Some(stats),
        ..AccountDetail::default()
    }
}

/// Services of the broker's own, as the system account has them: its subject and
/// whether an answer may have several parts.
const SERVICES: &[(&str, &str)] = &[
    ("$SYS.REQ.ACCOUNT.*.CONNZ", "Streamed"),
    ("$SYS.REQ.ACCOUNT.*.STATZ", "Streamed"),
    ("$SYS.DEBUG.SUBSCRIBERS", "Singleton"),
    ("$SYS.REQ.USER.*.INFO", "Singleton"),
    ("$JS.API.>", "Singleton"),
];

fn system_exports() -> Vec<AccountExport> {
    let services = SERVICES.iter();
    services
        .map(|(subject, response_type)| AccountExport {
            subject: (*subject).into(),
            kind: "service".into(),
            response_type: (*response_type).into(),
            ..AccountExport::default()
        })
        .collect()
}

/// The services of the system account that every account may ask.
fn system_imports(monitor: &Monitor, account: &Account) -> Vec<AccountImport> {
    let system = monitor.server.broker.accounts.system_name();
    if system.is_empty() {
        return Vec::new();
    }
    let name = &account.name;
    let about = |topic: &str| format!("$SYS.REQ.ACCOUNT.{name}.{topic}");
    let mut services = vec![(format!("$SYS.REQ.USER.{name}.INFO"), "USER.INFO", true)];
    if !account.is_system {
        services.extend([
            (about("CONNZ"), "ACCOUNT.PING.CONNZ", false),
            (about("CONNZ"), "SERVER.PING.CONNZ", false),
            (about("STATZ"), "ACCOUNT.PING.STATZ", false),
        ]);
    }
    let services = services.into_iter();
    services
        .map(|(subject, ours, share)| AccountImport {
            subject,
            account: system.clone(),
            to: format!("$SYS.REQ.{ours}"),
            local_subject: format!("$SYS.REQ.{ours}"),
            kind: "service".into(),
            share,
            ..AccountImport::default()
        })
        .collect()
}

fn mappings(config: &AccountConfig) -> BTreeMap<String, Vec<MappingDestination>> {
    let ways = |mapping: &Mapping| {
        let ways = mapping.destinations.iter();
        ways.map(|way| MappingDestination {
            subject: way.subject.clone(),
            weight: way.weight,
        })
        .collect()
    };
    let mappings = config.mappings.iter();
    mappings
        .map(|mapping| (mapping.subject.clone(), ways(mapping)))
        .collect()
}

fn exports(config: &AccountConfig) -> Vec<AccountExport> {
    let exports = config.exports.iter();
    exports
        .map(|export| {
            let (kind, response_type) = match &export.kind {
                ExportKind::Stream => ("stream", ""),
                ExportKind::Service { response, .. } => match response {
                    ResponseKind::Singleton => ("service", "Singleton"),
                    ResponseKind::Stream => ("service", "Streamed"),
                },
            };
            AccountExport {
                subject: export.subject.clone(),
                kind: kind.into(),
                response_type: response_type.into(),
                latency: export.latency().map(latency),
                approved_accounts: export.accounts.clone(),
            }
        })
        .collect()
}

fn latency(measured: &ServiceLatency) -> AccountLatency {
    AccountLatency {
        sampling: match measured.sampling {
            LatencySampling::Headers => SamplingRate::Named("headers".into()),
            LatencySampling::Percent(percent) => SamplingRate::Percent(percent),
        },
        results: measured.subject.clone(),
    }
}

/// How the service of an import is measured.
fn latency_of(import: &Import, accounts: &[AccountConfig]) -> Option<AccountLatency> {
    let source = accounts.iter().find(|it| it.name == import.account)?;
    let mut exports = source.exports.iter();
    let export = exports.find(|export| {
        let is_service = matches!(export.kind, ExportKind::Service { .. });
        is_service && is_subset(import.export_subject.as_bytes(), export.subject.as_bytes())
    })?;
    export.latency().map(latency)
}

fn imports(config: &AccountConfig, accounts: &[AccountConfig]) -> Vec<AccountImport> {
    let imports = config.imports.iter();
    imports
        .map(|import| {
            let (to, share, latency) = match &import.kind {
                ImportKind::Service { share, .. } => (
                    import.local_subject.clone(),
                    *share,
                    latency_of(import, accounts),
                ),
                ImportKind::Stream { .. } => (String::new(), false, None),
            };
            AccountImport {
                subject: import.export_subject.clone(),
                account: import.account.clone(),
                to,
                local_subject: import.local_subject.clone(),
                kind: import.kind.name().into(),
                share,
                latency,
                ..AccountImport::default()
            }
        })
        .collect()
}
