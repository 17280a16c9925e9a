//! The terminal: reads keys, draws the state, and restores the terminal in any case.

use std::{
    collections::HashSet,
    io,
    process::ExitCode,
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use monitor_client::Error;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};

use crate::{
    app::App,
    feed::{Answers, Feed},
    names::{self, WAITING_MAX},
    options::Options,
    view::{self, theme::Theme},
};

/// Events that the screen waits for.
enum ScreenEvent {
    Answers(Box<Result<Answers, Error>>),
    Name(String, String),
    Terminal(io::Result<Event>),
}

/// Shows the broker until the operator quits.
pub(crate) fn run(options: Options) -> ExitCode {
    // Also restores the terminal after a panic.
    let outcome = ratatui::try_init().and_then(|mut terminal| {
        let outcome = show(&mut terminal, options);
        ratatui::restore();
        outcome
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("midge top: the terminal, or a thread for it, cannot be had: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(terminal: &mut DefaultTerminal, options: Options) -> io::Result<ExitCode> {
    let mut app = App::new(&options, Theme::from_environment());
    let (events, received) = channel();
    let (wanted, wanted_by_feed) = channel();
    let (delay, client, first) = (options.delay, options.client.clone(), app.wanted());
    let to_screen = events.clone();
    thread::Builder::new().spawn(move || {
        Feed::new(client).run(first, &wanted_by_feed, delay, |answers| {
            to_screen
                .send(ScreenEvent::Answers(Box::new(answers)))
                .is_ok()
        });
    })?;
    watch_terminal(events.clone())?;
    let names =
        names::start(move |address, name| events.send(ScreenEvent::Name(address, name)).is_ok())?;
    let mut requested = HashSet::new();
    loop {
        terminal.draw(|frame| view::draw(frame, &mut app))?;
        // Redraw from time to time: the age of a failure grows without any event.
        let Ok(first) = received.recv_timeout(Duration::from_secs(1)) else {
            continue;
        };
        // Everything received meanwhile is drawn once.
        for events in std::iter::once(first).chain(received.try_iter()) {
            match events {
                ScreenEvent::Answers(answers) => {
                    app.handle_answers(*answers);
                    if options.rounds != 0 && app.rounds >= options.rounds {
                        app.quit = true;
                    }
                }
                ScreenEvent::Name(address, name) => {
                    app.names.insert(address, name);
                }
                ScreenEvent::Terminal(Ok(Event::Key(key))) => {
                    if app.key(key) {
                        // The feed lives as long as the screen.
                        let _ = wanted.send(app.wanted());
                    }
                }
                // A resize only needs a redraw.
                ScreenEvent::Terminal(Ok(_)) => {}
                ScreenEvent::Terminal(Err(error)) => return Err(error),
            }
        }
        if app.lookup {
            request_names(&app, &mut requested, &names);
        }
        if app.quit {
            let answered = app.answers.is_some() && app.failure.is_none();
            return Ok(if answered {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
    }
}

fn watch_terminal(events: Sender<ScreenEvent>) -> io::Result<()> {
    let watching = thread::Builder::new().spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if events.send(ScreenEvent::Terminal(event)).is_err() || failed {
                return;
            }
        }
    });
    watching.map(drop)
}

/// Requests the names of the addresses shown, each once.
fn request_names(app: &App, requested: &mut HashSet<String>, names: &Sender<String>) {
    for row in app.rows.iter().take(WAITING_MAX) {
        if requested.len() < app.names.len() + WAITING_MAX && requested.insert(row.info.ip.clone())
        {
            // The thread lives as long as the screen.
            let _ = names.send(row.info.ip.clone());
        }
    }
}
