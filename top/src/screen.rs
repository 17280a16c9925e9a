//! The terminal: keys and answers come in, pictures go out, and it is left as it was
//! found, whatever happens.

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

/// What the screen waits for.
enum News {
    Answers(Box<Result<Answers, Error>>),
    Name(String, String),
    Terminal(io::Result<Event>),
}

/// Shows the broker until the operator has seen enough.
pub(crate) fn run(options: Options) -> ExitCode {
    // Restores the terminal also when something panics.
    let outcome = ratatui::try_init().and_then(|mut terminal| {
        let outcome = show(&mut terminal, options);
        ratatui::restore();
        outcome
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("midge top: the terminal cannot be used: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(terminal: &mut DefaultTerminal, options: Options) -> io::Result<ExitCode> {
    let mut app = App::new(&options, Theme::from_environment());
    let (news, received) = channel();
    let (wanted, wanted_by_feed) = channel();
    let (delay, client, first) = (options.delay, options.client.clone(), app.wanted());
    let to_screen = news.clone();
    thread::spawn(move || {
        Feed::new(client).run(first, &wanted_by_feed, delay, |answers| {
            to_screen.send(News::Answers(Box::new(answers))).is_ok()
        });
    });
    watch_terminal(news.clone());
    let names = names::start(move |address, name| news.send(News::Name(address, name)).is_ok());
    let mut asked = HashSet::new();
    loop {
        terminal.draw(|frame| view::draw(frame, &mut app))?;
        // The age of a failure moves although nothing comes in.
        let Ok(first) = received.recv_timeout(Duration::from_secs(1)) else {
            continue;
        };
        // What has come in the meantime is drawn once.
        for news in std::iter::once(first).chain(received.try_iter()) {
            match news {
                News::Answers(answers) => {
                    app.take(*answers);
                    if options.rounds != 0 && app.looks >= options.rounds {
                        app.quit = true;
                    }
                }
                News::Name(address, name) => {
                    app.names.insert(address, name);
                }
                News::Terminal(Ok(Event::Key(key))) => {
                    if app.key(key) {
                        // The feed ends with the screen, not before.
                        let _ = wanted.send(app.wanted());
                    }
                }
                // A resize is drawn, like everything.
                News::Terminal(Ok(_)) => {}
                News::Terminal(Err(error)) => return Err(error),
            }
        }
        if app.lookup {
            ask_names(&app, &mut asked, &names);
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

fn watch_terminal(news: Sender<News>) {
    thread::spawn(move || {
        loop {
            let event = event::read();
            let failed = event.is_err();
            if news.send(News::Terminal(event)).is_err() || failed {
                return;
            }
        }
    });
}

/// Has the addresses of the shown connections looked up, each once.
fn ask_names(app: &App, asked: &mut HashSet<String>, names: &Sender<String>) {
    for row in app.rows.iter().take(WAITING_MAX) {
        if asked.len() < app.names.len() + WAITING_MAX && asked.insert(row.info.ip.clone()) {
            // The thread ends with the screen, not before.
            let _ = names.send(row.info.ip.clone());
        }
    }
}
