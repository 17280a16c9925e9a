//! The paths of the monitoring port, read from its own index page, so that a new path is
//! tested automatically.

/// Paths that the index page does not name.
const UNNAMED: [&str; 2] = ["/", "/subscriptionsz"];

/// Paths that change something.
pub const ACTIONS: [&str; 4] = ["/forget", "/kick", "/reload", "/trace"];

/// All paths, those that the index page names and the others.
pub fn of(page: &str) -> Vec<String> {
    let marks = ["href=\"", "src=\""].into_iter();
    let mut paths: Vec<String> = marks
        .flat_map(|mark| page.split(mark).skip(1))
        .filter_map(|link| link.split('"').next())
        .map(|link| link.trim_start_matches("./").trim_start_matches('/'))
        .filter(|name| !name.is_empty())
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '.'))
        .map(|name| format!("/{name}"))
        .chain(UNNAMED.map(String::from))
        .collect();
    paths.sort();
    paths.dedup();
    assert!(paths.len() >= 20, "{paths:?}");
    paths
}
