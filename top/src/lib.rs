//! `midge top`: shows findings, traffic and connections of a broker live in a terminal. The program
//! `midge-top` calls [`run`]; `midge top` executes that program.
//!
//! A separate crate because it uses only the monitoring port and because the broker does not need
//! terminal code. The path of an answer: [`feed`] requests it, [`clean`] replaces unsafe
//! characters, [`app`] keeps the state, [`view`] draws it, or [`report`] writes it as text.

mod app;
mod clean;
mod feed;
mod history;
mod names;
mod options;
mod report;
mod screen;
mod sort;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    thread,
};

use monitor_client::text::escaped;

use crate::{
    app::App,
    feed::Feed,
    options::{Options, Report, Request},
    view::theme::Theme,
};

/// Exit code for a wrong command line.
const USAGE: u8 = 2;

/// Runs the program with the arguments after `midge top`. Exit code 0: the broker answered; 1: it
/// did not, or the output could not be written; 2: the arguments are wrong.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match options::read(arguments, io::stdout().is_terminal()) {
        Ok(Request::Show(options)) => options,
        Ok(Request::Fetch(client, path)) => return fetched(client.text(&path)),
        Ok(Request::Print(text)) => return written(io::stdout().write_all(text.as_bytes())),
        Err(text) => {
            eprintln!("midge top: {}", text.trim_end());
            return ExitCode::from(USAGE);
        }
    };
    let options = *options;
    match &options.report {
        None => screen::run(options),
        Some(_) => reports(options),
    }
}

/// Writes an answer that is a text, line by line without unsafe characters.
fn fetched(answer: Result<String, monitor_client::Error>) -> ExitCode {
    match answer {
        Ok(text) => {
            let lines = text.lines().map(|line| escaped(line) + "\n");
            written(io::stdout().write_all(lines.collect::<String>().as_bytes()))
        }
        Err(error) => {
            eprintln!("midge top: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes as many reports as requested. The very first round only provides the values that rates
/// are computed from.
fn reports(options: Options) -> ExitCode {
    let Some(report) = &options.report else {
        return ExitCode::FAILURE;
    };
    let mut app = App::new(&options, Theme { colours: false });
    let wanted = app.wanted_all();
    let mut feed = Feed::new(options.client.clone());
    if let Err(failed) = run_round(&mut feed, &wanted, &mut app) {
        return failed;
    }
    let mut written_so_far = 0;
    loop {
        thread::sleep(options.delay);
        if let Err(failed) = run_round(&mut feed, &wanted, &mut app) {
            return failed;
        }
        if let Err(error) = write_report(report, &app) {
            return written(Err(error));
        }
        written_so_far += 1;
        if written_so_far == options.rounds {
            return ExitCode::SUCCESS;
        }
    }
}

fn run_round(feed: &mut Feed, wanted: &feed::Wanted, app: &mut App) -> Result<(), ExitCode> {
    app.handle_answers(feed.round(wanted));
    match &app.failure {
        None => Ok(()),
        Some((text, _)) => {
            eprintln!("midge top: {text}");
            Err(ExitCode::FAILURE)
        }
    }
}

fn write_report(report: &Report, app: &App) -> io::Result<()> {
    let text = match &report.delimiter {
        Some(delimiter) => report::connections(app, delimiter),
        None => report::whole(app),
    };
    match &report.file {
        None => io::stdout().write_all(text.as_bytes()),
        Some(path) => fs::write(path, text).map_err(|error| at(path, &error)),
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that closes the pipe is not an error.
            if error.kind() != io::ErrorKind::BrokenPipe {
                eprintln!("midge top: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
