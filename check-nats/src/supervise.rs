//! A whole run in bounded time: the brokers, each checked on a thread of its own, and the report
//! about them. `lib` calls it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use srv_records::Srv;

use super::{
    brokers::{
        self, Among, BROKERS_MAX, Brokers, Shared, names,
        parallel::{self, Undone},
    },
    deadline::{Deadline, Step},
    options::Options,
    report::Report,
    run::{self, Finished},
    status::{Failure, Status},
    target::Target,
};

/// Time that a run has after its own timeout to report it. After that the thread that waits for
/// it reports instead: a host look-up, for example, cannot be interrupted.
const GRACE: Duration = Duration::from_millis(250);

/// Checks the broker, or each of several and how they compare, whatever the mode does.
pub fn supervise(options: &Options) -> Report {
    let deadline = Deadline::new(options.timeout, options.timeout_status);
    match &options.brokers {
        Brokers::One(target) => one(options, target, &deadline),
        Brokers::Several(targets) => several(
            options,
            targets,
            Report::new(&options.joint_metrics),
            &deadline,
        ),
        Brokers::Srv { srv, access } => {
            let mut report = Report::new(&options.joint_metrics);
            match listed(options, srv, access, &mut report, &deadline) {
                // What is said of them is all there is.
                Ok(targets) if targets.is_empty() => report,
                Ok(targets) => several(options, &targets, report, &deadline),
                Err(failure) => {
                    report.fail(&failure);
                    report
                }
            }
        }
    }
}

/// The report of a run that found out nothing, with all metrics that are known before it.
pub fn empty_report(options: &Options) -> Report {
    let Brokers::Several(targets) = &options.brokers else {
        return match options.brokers.are_several() {
            true => Report::new(&options.joint_metrics),
            false => Report::new(&options.metrics),
        };
    };
    let mut report = Report::new(&options.joint_metrics);
    for name in names_of(targets) {
        report.add_broker(&name, Report::new(&options.metrics));
    }
    report
}

fn names_of(targets: &[Target]) -> Vec<String> {
    let places: Vec<String> = targets.iter().map(Target::name).collect();
    names::short(&places)
}

fn one(options: &Options, target: &Target, deadline: &Deadline) -> Report {
    let job = Job::new(target, None, deadline);
    match check_all(options, vec![job], deadline).pop() {
        Some(finished) => finished.report,
        None => Report::new(&options.metrics),
    }
}

/// The brokers' reports, added to one about all of them.
fn several(options: &Options, targets: &[Target], report: Report, deadline: &Deadline) -> Report {
    let shared = Arc::new(Shared::new(names_of(targets)));
    let jobs = targets.iter().enumerate().map(|(number, target)| {
        let shared = Arc::clone(&shared);
        Job::new(target, Some(Among { number, shared }), deadline)
    });
    let finished = check_all(options, jobs.collect(), deadline);
    brokers::merge(options, &shared, finished, report)
}

/// The check of one broker, to be done.
struct Job {
    target: Target,
    among: Option<Among>,
    deadline: Arc<Deadline>,
}

impl Job {
    fn new(target: &Target, among: Option<Among>, deadline: &Deadline) -> Self {
        Self {
            target: target.clone(),
            among,
            deadline: Arc::new(deadline.beside()),
        }
    }
}

/// Checks the brokers at the same time.
fn check_all(options: &Options, jobs: Vec<Job>, deadline: &Deadline) -> Vec<Finished> {
    let deadlines: Vec<_> = jobs.iter().map(|job| Arc::clone(&job.deadline)).collect();
    let calls = jobs.into_iter().map(|job| {
        let options = options.clone();
        move || run::run(&options, &job.target, job.among, &job.deadline)
    });
    let results = parallel::run(calls.collect(), deadline.end() + GRACE);
    let finished = results
        .into_iter()
        .zip(deadlines)
        .map(|(result, deadline)| {
            result.unwrap_or_else(|undone| unfinished(options, undone, &deadline))
        });
    finished.collect()
}

/// What is reported of a check that did not end by itself.
fn unfinished(options: &Options, undone: Undone, deadline: &Deadline) -> Finished {
    let mut report = Report::new(&options.metrics);
    report.fail(&match undone {
        Undone::Late => deadline.late(),
        Undone::Failed(failure) => failure,
    });
    Finished {
        report,
        answered: false,
    }
}

/// The brokers of the record, which is looked up in half of the time: the other half is for them.
fn listed(
    options: &Options,
    srv: &Srv,
    access: &Target,
    report: &mut Report,
    deadline: &Deadline,
) -> Result<Vec<Target>, Failure> {
    let time = deadline.begin(Step::Srv)? / 2;
    let looked_up = {
        let srv = srv.clone();
        parallel::run(
            vec![move || srv.look_up(time)],
            Instant::now() + time + GRACE,
        )
        .pop()
    };
    let listed = match looked_up {
        Some(Ok(answer)) => answer.map_err(Failure::unknown)?.listed,
        Some(Err(Undone::Failed(failure))) => return Err(failure),
        Some(Err(Undone::Late)) | None => {
            return Err(Failure::unknown(format!("{srv}: the look-up hangs")));
        }
    };
    if listed.len() > BROKERS_MAX {
        let text = format!(
            "{srv} lists {}: {BROKERS_MAX} brokers are checked",
            listed.len()
        );
        report.say(Status::Unknown, &text);
    }
    let mut targets = Vec::new();
    let mut left_out = Vec::new();
    for listed in listed.iter().take(BROKERS_MAX) {
        match access.at(&listed.host, listed.port) {
            Ok(target) => targets.push(target),
            Err(why) => left_out.push(why),
        }
    }
    if !options.mode.needs.is_empty() {
        let shared = brokers::shared_monitoring(&targets);
        for (number, _) in shared.iter().rev() {
            targets.remove(*number);
        }
        left_out.extend(shared.into_iter().map(|(_, why)| why));
        left_out.dedup();
    }
    // One entry that cannot be checked does not hide the others.
    for why in left_out {
        report.say(Status::Unknown, &format!("not checked: {srv}: {why}"));
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{
        args::{self, Asked},
        modes::{Compares, MODES, Mode},
        status::Status,
    };

    fn options(mode: &'static Mode, arguments: &[&str]) -> Options {
        let arguments = ["check_nats"].iter().chain(arguments);
        let Asked::Check(matches) = args::read(arguments.map(Into::into), "") else {
            panic!("the arguments of the test are wrong");
        };
        let mut options = Options::new(&matches).unwrap();
        options.mode = mode;
        options
    }

    /// Also a run that a signal ends has the labels of all brokers.
    #[test]
    fn a_report_about_nothing_has_all_metrics() {
        let connect = MODES.iter().find(|mode| mode.name == "connect").unwrap();
        let report = empty_report(&options(connect, &["--mode", "connect"]));
        assert_eq!(report.metrics().len(), connect.metrics.len());
        let several = ["--mode", "connect", "-H", "n1.a", "-H", "n2.a"];
        let report = empty_report(&options(connect, &several));
        assert_eq!(report.metrics()[0].planned.label, "brokers_answering");
        let names: Vec<&str> = report.brokers().iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["n1", "n2"]);
        for (_, broker) in report.brokers() {
            assert_eq!(broker.metrics().len(), connect.metrics.len());
        }
    }

    #[test]
    fn a_panic_is_unknown() {
        static BROKEN: Mode = Mode {
            name: "broken",
            help: "",
            metrics: &[],
            needs: &[],
            compares: Compares::Nothing,
            run: |_| panic!("boom"),
            joint: None,
        };
        let report = supervise(&options(&BROKEN, &[]));
        assert_eq!(report.status(), Status::Unknown);
        assert!(report.statements()[0].text.ends_with("report it: boom"));
    }

    #[test]
    fn the_step_that_is_late_is_named() {
        let connect = MODES.iter().find(|mode| mode.name == "connect").unwrap();
        let options = options(connect, &["--mode", "connect"]);
        let deadline = Deadline::new(Duration::ZERO, None);
        assert!(deadline.begin(Step::StateFile).is_err(), "no time");
        let report = unfinished(&options, Undone::Late, &deadline).report;
        assert_eq!(report.status(), Status::Unknown);
        let text = &report.statements()[0].text;
        assert!(text.ends_with("while using the state file"), "{text}");
    }

    /// A step that hangs without looking at the clock is ended all the same.
    #[test]
    fn a_hanging_step_is_ended() {
        static HANGING: Mode = Mode {
            name: "hanging",
            help: "",
            metrics: &[],
            needs: &[],
            compares: Compares::Nothing,
            run: |check| {
                check.begin_state_file()?;
                loop {
                    thread::park();
                }
            },
            joint: None,
        };
        let report = supervise(&options(&HANGING, &["-t", "50ms"]));
        assert_eq!(report.status(), Status::Unknown);
        // Which step it has reached in that time is up to the system.
        let text = &report.statements()[0].text;
        assert!(text.contains("no time left after "), "{text}");
        let report = supervise(&options(&HANGING, &["-t", "50ms:warning"]));
        assert_eq!(report.status(), Status::Warning);
    }
}
