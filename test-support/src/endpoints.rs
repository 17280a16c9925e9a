//! The paths of the monitoring port, so that a test that asks all of them asks a new one
//! too. The index page names most of them; the broker's table of paths is compared with
//! the lists of the others here (`src/monitor/http/table.rs`).

/// Paths that the index page does not describe: itself, what it loads, and a second name.
pub const UNDESCRIBED: [&str; 4] = ["/", "/dashboard.css", "/dashboard.js", "/subscriptionsz"];

/// Paths that change something: by POST on the Unix socket only.
pub const ACTIONS: [&str; 5] = ["/forget", "/kick", "/rebalance", "/reload", "/trace"];

/// All paths that answer GET, sorted: those that the index page names, and the others.
pub fn of(index_page: &str) -> Vec<String> {
    let mut paths: Vec<String> = index_page
        .split("href=\"")
        .skip(1)
        .filter_map(|link| link.split('"').next())
        .map(|link| link.trim_start_matches("./").trim_start_matches('/'))
        .filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase()))
        .map(|name| format!("/{name}"))
        .chain(UNDESCRIBED.map(String::from))
        .collect();
    paths.sort();
    paths.dedup();
    assert!(paths.len() >= 20, "{paths:?}");
    paths
}
