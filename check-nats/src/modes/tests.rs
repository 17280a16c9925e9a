use std::collections::BTreeSet;

use super::*;
use crate::range::Range;

/// The tables are well formed: names and labels once each, labels fit for
/// perfdata and graphs, defaults readable, thresholds only where one can be set.
#[test]
fn the_table_is_sound() {
    let names: BTreeSet<&str> = MODES.iter().map(|mode| mode.name).collect();
    assert_eq!(names.len(), MODES.len());
    for mode in MODES {
        assert!(
            !mode.help.is_empty() && !mode.metrics.is_empty(),
            "{}",
            mode.name
        );
        let labels: BTreeSet<&str> = mode.metrics.iter().map(|metric| metric.label).collect();
        assert_eq!(labels.len(), mode.metrics.len(), "{}", mode.name);
        for metric in mode.metrics {
            let fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(metric.label.chars().all(fit), "{}", metric.label);
            assert!(metric.label.len() <= 19, "{}", metric.label);
            for default in [metric.warning, metric.critical] {
                assert!(default.is_empty() || Range::parse(default, metric.unit).is_ok());
                assert!(default.is_empty() || metric.option.is_some());
            }
            // A warning that is always critical too is none.
            let limits = |range| Range::parse(range, metric.unit).ok()?.limits(Some(100.0));
            if let (Some(mild), Some(severe)) = (limits(metric.warning), limits(metric.critical)) {
                assert!(!mild.alerts_only_with(severe), "{}", metric.label);
            }
        }
    }
}

/// README has all of them in one sentence.
#[test]
fn readme_lists_them() {
    const README: &str = include_str!("../../../README.md");
    let list = README.split_once("lists the modes (").expect("the list").1;
    let list = list.split_once(')').expect("its end").0;
    let mut listed: Vec<&str> = list.split([',', ' ', '\n']).collect();
    listed.retain(|name| !name.is_empty());
    listed.sort_unstable();
    let mut names: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
    names.sort_unstable();
    assert_eq!(listed, names);
}

/// Wherever the documentation names a mode, there is one.
#[test]
fn modes_that_are_named_exist() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let pages = std::fs::read_dir(format!("{root}/docs")).expect("the folder docs");
    let pages = pages.map(|page| page.expect("a page").path());
    let readme = std::path::PathBuf::from(format!("{root}/README.md"));
    let mut named = 0;
    for page in pages
        .chain([readme])
        .filter(|it| it.extension().is_some_and(|it| it == "md"))
    {
        let text = std::fs::read_to_string(&page).expect("its text");
        for rest in text.split("--mode ").skip(1) {
            let end = rest.find(|it: char| !it.is_ascii_lowercase() && it != '-');
            let name = &rest[..end.unwrap_or(rest.len())];
            if name.is_empty() {
                continue;
            }
            named += 1;
            assert!(
                MODES.iter().any(|mode| mode.name == name),
                "{}: --mode {name}",
                page.display()
            );
        }
    }
    assert!(named > 20, "{named}");
}
