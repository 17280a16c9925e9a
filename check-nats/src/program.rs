//! The program `check_nats`: arguments in, output and exit code out, whatever happens. A
//! panic is UNKNOWN, and so is a signal that would end the process: a scheduler that kills
//! a slow check sees one of the four states and not the number of a signal.

use std::{
    env,
    io::{self, Write},
    panic,
    process::{self, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use signal_hook::{
    consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU},
    iterator::Signals,
    low_level::signal_name,
};

use super::{
    Outcome, args::asked_format, options::Options, outcome_of, outcome_of_panic, run,
    status::Failure,
};

/// The signals that end a process unless it catches them.
const FATAL: [i32; 8] = [
    SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU,
];

/// Runs the program; `version` is what `--version` prints.
pub fn main(version: &'static str) -> ExitCode {
    // A panic becomes UNKNOWN on standard output; nothing else is to be printed.
    panic::set_hook(Box::new(|_| ()));
    let begun = Instant::now();
    let printer = Arc::new(Printer::default());
    // Without it only the exit code after a signal is another one.
    let mut signals = Signals::new(FATAL).ok();
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        run(env::args_os(), version, |options| {
            if let Some(signals) = signals.take() {
                answer_signals(signals, options.clone(), begun, printer.clone());
            }
        })
    }));
    let outcome = outcome.unwrap_or_else(|panic| {
        let arguments: Vec<_> = env::args_os().collect();
        outcome_of_panic(&*panic, asked_format(&arguments))
    });
    printer.print(&outcome);
    ExitCode::from(outcome.code)
}

/// Prints one outcome and no second one.
#[derive(Default)]
struct Printer {
    is_done: Mutex<bool>,
}

impl Printer {
    /// Prints the outcome unless another one was printed.
    fn print(&self, outcome: &Outcome) {
        let mut is_done = self.is_done.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_done, true) {
            write(outcome);
        }
    }

    /// The same, and ends the process with the outcome's code; meanwhile nobody else prints.
    fn print_and_exit(&self, outcome: &Outcome) {
        let mut is_done = self.is_done.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_done, true) {
            write(outcome);
            process::exit(outcome.code.into());
        }
    }
}

fn write(outcome: &Outcome) {
    // The exit code stays true even if nobody reads the text.
    let _ = io::stdout().write_all(outcome.output.as_bytes());
}

/// Waits for a signal on a thread of its own. Without the thread, signals are ignored, and
/// the check ends by its own timeout.
fn answer_signals(mut signals: Signals, options: Options, begun: Instant, printer: Arc<Printer>) {
    let wait = move || {
        let Some(signal) = signals.forever().next() else {
            return;
        };
        let name = signal_name(signal).unwrap_or("a signal");
        let failure = Failure::unknown(format!(
            "ended by {name} after {:.1} s, before there was a result; -t is {} s",
            begun.elapsed().as_secs_f64(),
            options.timeout.as_secs_f64()
        ));
        printer.print_and_exit(&outcome_of(&failure, &options));
    };
    let _ = thread::Builder::new().name("signals".into()).spawn(wait);
}
