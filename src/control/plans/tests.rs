use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};

use ringway_runtime::mesh::{ControlPort, Seat};

use super::*;
use crate::config;
use crate::control::offers::{Bound, wanted};
use crate::core::lines;
use crate::plan;

/// Control's side of plans, with cores that the test plays.
struct Control {
    plans: Plans,
    cores: Vec<ControlPort<FromCore, ToCore>>,
    log: Vec<u8>,
    builds: Rc<RefCell<Vec<Origin>>>,
}

fn log(out: &mut Vec<u8>) -> Log<'_> {
    Log::new(out, &plan::Log::default())
}

fn version(text: &str) -> Version {
    let text = format!(
        "[listener.web]\naddress = \"127.0.0.1:0\"\n[service.hello]\ntype = \"respond\"\nbody = \"{text}\"\n\
         [[route]]\nname = \"hello\"\npath = \"/\"\nservice = \"hello\"\n"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.toml");
    std::fs::write(&file, text).unwrap();
    let loaded = config::load(&file, 1, &mut |_, _| Err("no names here".to_owned())).unwrap();
    Version { plan: Arc::new(loaded.plan), says: Arc::new(loaded.effective) }
}

fn body(plan: &Plan) -> String {
    let crate::plan::Action::Respond(respond) = &plan.routes[0].action else { panic!("another plan") };
    String::from_utf8(respond.body.to_vec()).unwrap()
}

impl Control {
    fn start(cores: usize) -> Self {
        let Version { plan, says } = version("first");
        let says = Arc::into_inner(says).unwrap();
        let mut offers = Offers::new(cores);
        let bound = wanted(&plan).into_iter().map(|wanted| {
            let sources = (0..cores).map(|_| wanted.address.socket_addr().unwrap().into()).collect();
            (wanted.key, Bound { address: wanted.address, file: None, sources, handles: Vec::new() })
        });
        let bound = bound.collect();
        let first = offers.draft(1, plan, bound, |_, new| new.in_memory()).unwrap();
        let builds: Rc<RefCell<Vec<Origin>>> = Rc::default();
        let seen = builds.clone();
        let builder: Builder = Box::new(move |origin, _, _| seen.borrow_mut().push(origin));
        let lines = lines(cores);
        let line = Rc::new(Cores::new(lines.control));
        let metrics = MetricsPlace { dir: None, start: Start::default() };
        let (plans, _) = Plans::start(first, (says, Vec::new()), offers, line, vec![0; cores], metrics, builder);
        let cores = lines.cores.into_iter().map(Seat::into_control).collect();
        Self { plans, cores, log: Vec::new(), builds }
    }

    fn ask(&mut self, command: &Command) -> Receiver<Answer> {
        let (reply, answer) = channel();
        self.plans.command(command, Some(reply), &mut log(&mut self.log));
        answer
    }

    /// The build that was asked for last ends with this text, or with the plan of before that was asked for.
    fn built(&mut self, text: &str) {
        let version = match self.builds.borrow_mut().pop().expect("a build was asked for") {
            Origin::File => version(text),
            Origin::Again(Known::Built(version)) => version,
            Origin::Again(Known::Written(_)) => panic!("there was no gateway before"),
        };
        self.plans.built(
            Ok(Built { version, files: Vec::new(), bound: HashMap::new(), warnings: String::new(), access: None }),
            &mut log(&mut self.log),
        );
    }

    fn heard(&mut self, core: usize, message: FromCore) {
        self.plans.heard(core, message, &mut log(&mut self.log));
    }

    /// What control told a core, in few words.
    fn told(&mut self, core: usize) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((_, message)) = self.cores[core].try_receive() {
            all.push(match message {
                ToCore::Offer(offer) => format!("offer {} {}", offer.epoch, body(&offer.plan)),
                ToCore::Commit(epoch) => format!("commit {epoch}"),
                ToCore::Withdraw(epoch) => format!("withdraw {epoch}"),
                ToCore::Drain => "drain".to_owned(),
                ToCore::Endpoints(_)
                | ToCore::Tickets(_)
                | ToCore::Look
                | ToCore::HandOver(_)
                | ToCore::TookOver(_) => "not about plans".to_owned(),
            });
        }
        all
    }

    /// Both cores take what they are offered.
    fn taken(&mut self, epoch: u64) {
        for core in 0..2 {
            self.heard(core, FromCore::Prepared(epoch, Ok(())));
        }
        for core in 0..2 {
            self.heard(core, FromCore::Runs(epoch));
        }
    }

    fn reload(&mut self, text: &str) -> Answer {
        let answer = self.ask(&Command::Reload);
        self.built(text);
        let epoch = self.plans.last_epoch;
        self.taken(epoch);
        (0..2).for_each(|core| drop(self.told(core)));
        answer.try_recv().expect("an answer")
    }

    fn log(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.log)).unwrap()
    }

    fn runs(&self) -> (u64, String) {
        (self.plans.epoch, body(self.plans.plan()))
    }
}

fn why(answer: &Receiver<Answer>) -> String {
    match answer.try_recv() {
        Ok(Answer::Refused { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}

/// As many plans of before as the defaults keep.
const KEPT: usize = 10;

#[test]
fn a_plan_is_committed_when_every_core_has_prepared_it_and_answered_when_every_core_runs_it() {
    let mut control = Control::start(2);
    let answer = control.ask(&Command::Reload);
    control.built("second");
    assert_eq!(control.told(0), ["offer 2 second"]);
    control.heard(0, FromCore::Prepared(2, Ok(())));
    assert_eq!((control.told(0), control.runs()), (vec![], (1, "first".to_owned())));
    control.heard(1, FromCore::Prepared(2, Ok(())));
    assert_eq!(
        (control.told(0), control.told(1)),
        (vec!["commit 2".to_owned()], vec!["offer 2 second".to_owned(), "commit 2".to_owned()])
    );
    control.heard(1, FromCore::Runs(2));
    assert!(answer.try_recv().is_err(), "one core is still to switch");
    control.heard(0, FromCore::Runs(2));
    let Ok(Answer::Runs { epoch: 2, changes }) = answer.try_recv() else { panic!("no answer") };
    assert!(changes.starts_with("plan 1 -> 2: ~1 service, built in "), "{changes}");
    assert_eq!(control.log(), format!("ringway: {changes}\n"));
    assert_eq!(control.plans.deadline(), None);
}

#[test]
fn one_core_that_cannot_run_a_plan_keeps_all_from_it() {
    let mut control = Control::start(2);
    let answer = control.ask(&Command::Reload);
    control.built("second");
    control.heard(1, FromCore::Prepared(2, Err("cannot accept".to_owned())));
    assert_eq!(why(&answer), "core 1: cannot accept");
    assert_eq!(control.told(0), ["offer 2 second", "withdraw 2"]);
    // The other one is too late.
    control.heard(0, FromCore::Prepared(2, Ok(())));
    assert_eq!((control.told(0), control.runs()), (vec![], (1, "first".to_owned())));
    assert_eq!(control.log(), "ringway: kept plan 1: core 1: cannot accept\n");
    assert!(matches!(control.reload("third"), Answer::Runs { epoch: 3, .. }), "numbers are not used again");
}

#[test]
fn a_core_that_does_not_answer_keeps_the_plan() {
    let mut control = Control::start(2);
    let answer = control.ask(&Command::Reload);
    control.built("second");
    control.heard(0, FromCore::Prepared(2, Ok(())));
    assert!(control.plans.deadline().is_some());
    control.plans.by = Some(Instant::default());
    control.plans.time_passed(&mut log(&mut control.log));
    assert_eq!(why(&answer), "core 1 did not answer within 5s");
    assert_eq!(control.runs(), (1, "first".to_owned()));
}

#[test]
fn changes_follow_one_after_the_other_and_what_nobody_waits_for_is_done_once() {
    let mut control = Control::start(2);
    for _ in 0..5 {
        control.plans.command(&Command::Reload, None, &mut log(&mut control.log));
    }
    control.built("second");
    control.taken(2);
    control.built("third");
    control.taken(3);
    assert_eq!((control.runs(), control.builds.borrow().len()), ((3, "third".to_owned()), 0));
    let answers: Vec<_> = (0..MAX_WAITING + 2).map(|_| control.ask(&Command::Reload)).collect();
    assert_eq!(why(&answers[MAX_WAITING + 1]), "too many changes wait already");
}

#[test]
fn a_plan_of_before_runs_again_under_a_new_number() {
    let mut control = Control::start(2);
    control.reload("second");
    control.reload("third");
    let answer = control.ask(&Command::RollBack(Some(1)));
    control.built("unused");
    control.taken(4);
    assert_eq!(control.runs(), (4, "first".to_owned()));
    assert!(
        matches!(answer.try_recv(), Ok(Answer::Runs { epoch: 4, changes }) if changes.contains("plan 3 -> 4 (back to 1): "))
    );
    drop(control.ask(&Command::RollBack(None)));
    control.built("unused");
    control.taken(5);
    assert_eq!(control.runs(), (5, "third".to_owned()));
    let answer = control.ask(&Command::RollBack(Some(9)));
    assert_eq!(why(&answer), "plan 9 is not kept; kept are 1, 2, 3, 4, 5");
}

#[test]
fn the_history_is_bounded_and_says_what_runs() {
    let mut control = Control::start(2);
    for at in 0..KEPT + 5 {
        control.reload(&format!("plan {at}"));
    }
    let answer = control.ask(&Command::Plans);
    let Ok(Answer::Plans(notes)) = answer.try_recv() else { panic!("no plans") };
    assert_eq!(notes.len(), KEPT + 1);
    assert_eq!(notes.iter().filter(|note| note.runs).map(|note| note.epoch).collect::<Vec<_>>(), [KEPT as u64 + 6]);
}

#[test]
fn what_is_not_confirmed_in_time_is_undone() {
    let mut control = Control::start(2);
    drop(control.ask(&Command::ReloadUnlessUndone(Duration::from_mins(1))));
    control.built("second");
    control.taken(2);
    // A reload in between changes nothing of that.
    control.reload("third");
    assert!(control.plans.deadline().is_some());
    control.plans.unconfirmed.as_mut().unwrap().by = Instant::default();
    control.plans.time_passed(&mut log(&mut control.log));
    control.built("unused");
    control.taken(4);
    assert_eq!((control.runs(), control.plans.deadline()), ((4, "first".to_owned()), None));
    assert!(control.log().contains("plan 3 -> 4 (not confirmed, back to 1): "));
}

#[test]
fn what_is_confirmed_stays() {
    let mut control = Control::start(2);
    assert_eq!(why(&control.ask(&Command::Confirm)), "nothing waits to be confirmed");
    drop(control.ask(&Command::ReloadUnlessUndone(Duration::from_mins(1))));
    control.built("second");
    control.taken(2);
    assert_eq!(control.ask(&Command::Confirm).try_recv(), Ok(Answer::Done));
    assert_eq!((control.runs(), control.plans.deadline()), ((2, "second".to_owned()), None));
}

#[test]
fn a_drain_ends_what_is_under_way_and_refuses_what_follows() {
    let mut control = Control::start(2);
    let (under_way, waits) = (control.ask(&Command::Reload), control.ask(&Command::Reload));
    control.plans.drain(&mut log(&mut control.log));
    assert_eq!((why(&under_way), why(&waits)), ("the gateway drains".to_owned(), "the gateway drains".to_owned()));
    control.built("late");
    assert_eq!(control.told(0), Vec::<String>::new());
    let answer = control.ask(&Command::Reload);
    assert_eq!(why(&answer), "the gateway drains");
}

#[test]
fn a_plan_is_held_until_every_core_has_let_go_of_it() {
    let mut control = Control::start(2);
    let first = Arc::downgrade(&control.plans.version.plan);
    for at in 0..=KEPT {
        control.reload(&format!("plan {at}"));
    }
    control.heard(0, FromCore::Released(1));
    assert!(first.upgrade().is_some());
    control.heard(1, FromCore::Released(1));
    assert!(first.upgrade().is_none(), "neither history nor cores have it");
}

#[test]
fn a_file_that_says_what_it_said_before_changes_nothing() {
    let mut control = Control::start(2);
    control.plans.file_changed(&mut log(&mut control.log));
    control.built("first");
    assert_eq!((control.told(0), control.log(), control.runs().0), (vec![], String::new(), 1));
    control.plans.file_changed(&mut log(&mut control.log));
    control.built("second");
    let epoch = control.plans.last_epoch;
    control.taken(epoch);
    assert_eq!(control.runs(), (epoch, "second".to_owned()));
}
