//! Draws the views in memory, in every size, also with answers that no normal broker gives.

use monitor_client::{
    Ceiling, ConnInfo, Connz, EventInfo, Eventsz, Explainz, FederationVarz, Finding, Incident,
    Latencyz, Memz, PendingSample, RouteInfo, Routez, Slowz, SubjectLoad, Topz, Varz,
};
use proptest::prelude::*;
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    style::Color,
};
use serde_json::{from_value, to_value};

use crate::{
    app::App,
    clean,
    feed::Answers,
    options::{self, Request},
    report,
    view::{self, View, theme::Theme},
};

const NOW: &str = "2026-11-25T10:00:00Z";

fn app(arguments: &[&str], colours: bool) -> App {
    match options::read(arguments.iter().map(Into::into), true) {
        Ok(Request::Show(options)) => App::new(&options, Theme { colours }),
        _ => panic!("refused: {arguments:?}"),
    }
}

/// Answers with data for every view; every text begins with `name`.
fn answers(name: &str, second: u32, connections: usize) -> Answers {
    let time = format!("2026-11-25T10:00:{second:02}Z");
    let connection = |cid: usize| ConnInfo {
        cid: cid as u64,
        name: format!("{name}{cid}"),
        ip: "10.0.0.1".into(),
        port: 4000,
        rtt: "472µs".into(),
        uptime: "1h".into(),
        idle: "2s".into(),
        pending_bytes: cid,
        out_msgs: cid as u64 * u64::from(second),
        ..ConnInfo::default()
    };
    let finding = Finding {
        code: "slow-consumer".into(),
        severity: "critical".into(),
        subject: name.into(),
        since: "2026-11-25T09:55:00Z".into(),
        text: format!("{name} is behind by 64 MB"),
        cause: "It does not read.".into(),
        remedy: "Restart it.".into(),
        ..Finding::default()
    };
    let incident = Incident {
        state: "ongoing".into(),
        name: name.into(),
        start: NOW.into(),
        duration: 5.0,
        curve: (0..50)
            .map(|index| PendingSample {
                after: f64::from(index) / 10.0,
                pending_bytes: index as usize * 1000,
                written_bytes: 0,
            })
            .collect(),
        pending_max: usize::MAX,
        limit: 1,
        ..Incident::default()
    };
    let event = EventInfo {
        id: u64::from(second),
        time: time.clone(),
        kind: "slow".into(),
        subject: name.into(),
        text: "fell behind".into(),
        ..EventInfo::default()
    };
    let subject = SubjectLoad {
        subject: format!("{name}.>"),
        msgs: u64::MAX,
        ..SubjectLoad::default()
    };
    let route = RouteInfo {
        rid: 7,
        remote_name: name.into(),
        in_msgs: i64::MIN,
        out_msgs: i64::MAX,
        ..RouteInfo::default()
    };
    let ceiling = Ceiling {
        name: "queues".into(),
        used: f64::from(second) * 1000.0,
        limit: 100_000.0,
        unit: "bytes".into(),
        exhausted_in: Some(f64::MAX),
        holder: name.into(),
        ..Ceiling::default()
    };
    Answers {
        varz: Varz {
            server_id: "N".repeat(56),
            server_name: name.into(),
            midge: Some("0.1.0".into()),
            start: "2026-11-25T09:00:00Z".into(),
            now: time.clone(),
            in_msgs: i64::from(second) * 1000,
            out_msgs: i64::from(second) * 5000,
            federation: Some(FederationVarz {
                name: "prod".into(),
                requests: 7,
                ..FederationVarz::default()
            }),
            ..Varz::default()
        },
        explainz: Some(Explainz {
            status: "critical".into(),
            findings: vec![finding; 3],
            ..Explainz::default()
        }),
        latencyz: Some(Latencyz::default()),
        memz: Some(Memz {
            ceilings: vec![ceiling],
            ..Memz::default()
        }),
        events: Some(Eventsz {
            missed: u64::MAX,
            events: vec![event; 3],
            ..Eventsz::default()
        }),
        connz: Some(Connz {
            now: time.clone(),
            total: connections,
            connections: (1..=connections).map(connection).collect(),
            ..Connz::default()
        }),
        connection: None,
        slowz: Some(Slowz {
            now: time.clone(),
            incidents: vec![incident; 3],
            ..Slowz::default()
        }),
        topz: Some(Topz {
            seconds: 60.0,
            subjects: vec![subject.clone(); 3],
            no_interest: vec![subject],
            ..Topz::default()
        }),
        routez: Some(Routez {
            now: time,
            routes: vec![route],
            ..Routez::default()
        }),
    }
}

/// The answers as they would arrive over the network.
fn cleaned(mut answers: Answers) -> Answers {
    fn through<T: serde::Serialize + serde::de::DeserializeOwned>(part: &T) -> T {
        from_value(clean::answer(to_value(part).expect("JSON"))).expect("the same type")
    }
    answers.varz = through(&answers.varz);
    answers.explainz = through(&answers.explainz);
    answers.memz = through(&answers.memz);
    answers.events = through(&answers.events);
    answers.connz = through(&answers.connz);
    answers.slowz = through(&answers.slowz);
    answers.topz = through(&answers.topz);
    answers.routez = through(&answers.routez);
    answers
}

fn screen(app: &mut App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    terminal
        .draw(|frame| view::draw(frame, app))
        .expect("drawn");
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let cells: Vec<&str> = buffer
        .content
        .iter()
        .map(ratatui::buffer::Cell::symbol)
        .collect();
    cells
        .chunks(width)
        .map(|line| line.concat() + "\n")
        .collect()
}

fn press(app: &mut App, code: KeyCode) -> bool {
    app.key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// An app that has handled the answers twice, so that it knows rates.
fn seen(arguments: &[&str], name: &str, connections: usize) -> App {
    let mut app = app(arguments, true);
    app.handle_answers(Ok(cleaned(answers(name, 1, connections))));
    app.handle_answers(Ok(cleaned(answers(name, 2, connections))));
    app
}

#[test]
fn each_view_fits_80_by_24() {
    let mut app = seen(&[], "node", 50);
    for (view, parts) in [
        (
            View::Overview,
            &[
                "CRITICAL slow-consumer node",
                "It does not read.",
                "Restart it.",
                "in 1.0k/s",
                "out 5.0k/s",
                "bytes waiting 1.95 KiB",
            ][..],
        ),
        (
            View::Connections,
            &["50 open connections, by pending, rates", "node50", "472 µs"],
        ),
        (View::Incidents, &["ongoing", "node", "████"]),
        (View::Load, &["node.>", "subjects"]),
        (View::Routes, &["node", "●◀─"]),
        (View::Events, &["fell behind", "events dropped"]),
        (View::Ceilings, &["queues", "2 %", "node"]),
    ] {
        app.view = view;
        let seen = text(&screen(&mut app, 80, 24));
        for part in parts {
            assert!(
                seen.contains(part),
                "{part:?} is missing in {view:?}:\n{seen}"
            );
        }
        assert!(seen.contains("3 critical"), "{seen}");
    }
    press(&mut app, KeyCode::Char('?'));
    assert!(text(&screen(&mut app, 80, 24)).contains("quit"));
}

/// Data that a nats-server does not provide are left out; the overview shows connections instead of
/// findings.
#[test]
fn a_nats_server_is_shown_without_what_it_lacks() {
    let mut app = app(&[], true);
    let whole = answers("peer", 1, 3);
    app.handle_answers(Ok(Answers {
        varz: Varz {
            midge: None,
            version: "2.9.10".into(),
            federation: None,
            ..whole.varz
        },
        connz: whole.connz,
        ..Answers::default()
    }));
    let seen = text(&screen(&mut app, 80, 24));
    assert!(
        seen.contains("nats-server 2.9.10") && seen.contains("peer3"),
        "{seen}"
    );
    assert!(!seen.contains("well"), "{seen}");
    for view in [View::Incidents, View::Load, View::Events, View::Ceilings] {
        app.view = view;
        assert!(
            text(&screen(&mut app, 80, 24)).contains("does not report"),
            "{view:?}"
        );
    }
    assert!(!report::whole(&app).contains("Findings"));
}

#[test]
fn ten_thousand_connections_are_sorted_filtered_and_walked_through() {
    let mut app = seen(&["--view", "connections"], "node", 10_000);
    let seen = text(&screen(&mut app, 80, 24));
    assert!(
        seen.contains("10000 open connections") && seen.contains("node10000"),
        "{seen}"
    );
    press(&mut app, KeyCode::End);
    let seen = text(&screen(&mut app, 80, 24));
    assert!(seen.contains("node1 "), "{seen}");
    press(&mut app, KeyCode::Up);
    press(&mut app, KeyCode::Char('r'));
    let reversed = text(&screen(&mut app, 80, 24));
    assert!(
        reversed.contains("by reversed pending") && reversed.contains("node9999"),
        "{reversed}"
    );
    press(&mut app, KeyCode::Char('/'));
    for character in "node1234".chars() {
        press(&mut app, KeyCode::Char(character));
    }
    assert!(press(&mut app, KeyCode::Enter), "others are wanted");
    assert!(app.wanted().connections.is_some_and(|wanted| wanted.all));
    app.handle_answers(Ok(answers("node", 3, 10_000)));
    let seen = text(&screen(&mut app, 80, 24));
    assert!(
        seen.contains("1 of 10000 open connections with \"node1234\""),
        "{seen}"
    );
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.filter, "");
}

#[test]
fn sort_orders_can_be_typed_and_unknown_ones_are_reported() {
    let mut app = seen(&["--view", "connections"], "node", 3);
    let enter = |app: &mut App, text: &str| {
        press(app, KeyCode::Char('o'));
        text.chars().for_each(|character| {
            press(app, KeyCode::Char(character));
        });
        press(app, KeyCode::Enter)
    };
    assert!(enter(&mut app, "subs"));
    assert_eq!(app.sort.name, "subs");
    assert!(!enter(&mut app, "size"));
    assert!(text(&screen(&mut app, 80, 24)).contains("unknown order \"size\""));
    assert!(!enter(&mut app, "stop"));
    assert_eq!(app.sort.name, "subs");
    press(&mut app, KeyCode::Char('c'));
    assert_eq!((app.state, app.sort.name), ("closed", "stop"));
    press(&mut app, KeyCode::Char('c'));
    assert_eq!((app.state, app.sort.name), ("any", "pending"));
}

#[test]
fn an_outage_is_shown_until_the_broker_answers_again() {
    let mut app = seen(&[], "node", 3);
    let refused = || monitor_client::Error::Refused {
        url: "http://x/\u{1b}[2J".into(),
    };
    app.handle_answers(Err(refused()));
    let seen = text(&screen(&mut app, 80, 24));
    assert!(
        seen.contains("NO ANSWER") && seen.contains("connection refused"),
        "{seen}"
    );
    assert!(
        seen.contains("slow-consumer"),
        "the last picture stays: {seen}"
    );
    let mut other = answers("node", 1, 3);
    other.varz.server_id = "M".repeat(56);
    app.handle_answers(Ok(other));
    let seen = text(&screen(&mut app, 80, 24));
    assert!(!seen.contains("NO ANSWER"), "{seen}");
    assert!(seen.contains("in -"), "rates begin anew: {seen}");
}

#[test]
fn without_colours_there_are_none() {
    let mut app = seen(&[], "node", 30);
    for (colours, expected) in [(true, true), (false, false)] {
        app.theme.colours = colours;
        let coloured = View::ALL.into_iter().any(|view| {
            app.view = view;
            let buffer = screen(&mut app, 80, 24);
            buffer
                .content
                .iter()
                .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        });
        assert_eq!(coloured, expected);
    }
}

#[test]
fn the_report_is_plain_text_with_everything_in_it() {
    let app = seen(&[], "na\u{1b}[2Jme", 12);
    let text = report::whole(&app);
    for part in [
        "CRITICAL slow-consumer",
        "Traffic",
        "federation prod is down, 7 requests",
        "Connections: 12 of 12",
        "… 2 more",
        "Incidents",
        "Subjects",
        "Without a subscriber",
        "Routes",
        "Ceilings",
        "Events",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(
        text.chars()
            .all(|character| character == '\n' || !character.is_control()),
        "{text:?}"
    );
    let lines = report::connections(&app, ";");
    assert_eq!(lines.lines().count(), 13);
    let columns = |line: &str| line.matches(';').count();
    assert!(
        lines
            .lines()
            .all(|line| columns(line) == columns(lines.lines().next().unwrap_or("")))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever names clients have and however small the screen is: nothing panics, and no cell
    /// contains a character that affects a terminal.
    #[test]
    fn no_size_and_no_name_causes_a_panic_or_unsafe_output(
        name in "\\PC{0,5}[\\x00-\\x1f\\x7f-\\u{9f}\\u{202e}\\u{200b}]{0,4}\\PC{0,30}",
        width in 1_u16..220,
        height in 1_u16..70,
        view in 0..View::ALL.len(),
        keys in "[/oncr0-9 sb?jkGg<>]{0,6}",
    ) {
        let mut app = seen(&[], &name, 40);
        app.view = View::ALL[view];
        screen(&mut app, width, height);
        for key in keys.chars() {
            press(&mut app, KeyCode::Char(key));
            let buffer = screen(&mut app, width, height);
            for cell in &buffer.content {
                let acts = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
                let harmless = !cell.symbol().contains(acts);
                prop_assert!(harmless, "{:?}", cell);
            }
        }
    }
}
