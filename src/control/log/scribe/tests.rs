use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::*;
use crate::observe::records::{Event, EventKind, Texts};
use crate::plan::AccessLog;

/// Enough for whatever a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

struct Desk {
    scribe: Scribe,
    recorders: Vec<Recorder>,
    told: Receiver<Told>,
}

fn settings(to: &Path) -> AccessLog {
    let flush = Duration::from_millis(1);
    AccessLog { to: LogTo::File(to.to_owned()), format: AccessFormat::Json, flush, field: 100 }
}

fn opened(to: &Path) -> Opened {
    output::open(&settings(to)).unwrap()
}

impl Desk {
    fn start(cores: usize, queue: usize, access: Option<Opened>) -> Self {
        let (tell, told) = channel();
        let Spawned { scribe, recorders } =
            spawn(None, cores, queue, access, move |told| drop(tell.send(told))).unwrap();
        Self { scribe, recorders, told }
    }

    fn says(&self, wanted: &str) -> String {
        loop {
            let told = self.told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it does not say {wanted:?}"));
            if told.message.contains(wanted) {
                return told.message;
            }
        }
    }
}

fn request(id: u64) -> Access<'static> {
    Access { texts: Texts { path: b"/x", ..Texts::default() }, ..Access::plain(id) }
}

/// The ids in a log, each line of which must be whole.
fn ids(text: &str) -> Vec<u64> {
    let id = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        u64::from_str_radix(line["id"].as_str().unwrap(), 16).unwrap()
    };
    text.lines().map(id).collect()
}

fn read(path: &Path) -> Vec<u64> {
    ids(&std::fs::read_to_string(path).unwrap_or_default())
}

#[test]
fn rotation_and_a_new_place_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["a", "a.1", "b"].map(|name| dir.path().join(name));
    let Desk { scribe, recorders, told } = Desk::start(2, 1 << 20, Some(opened(&paths[0])));
    let mut id = 0..;
    let mut ask = |count: usize| {
        for (id, core) in id.by_ref().take(count).zip([0, 1].iter().cycle()) {
            assert!(recorders[*core].access(&request(id), 100));
        }
    };
    ask(500);
    std::fs::rename(&paths[0], &paths[1]).unwrap();
    ask(500);
    scribe.reopen();
    ask(500);
    scribe.offer(7, Some(opened(&paths[2])));
    scribe.commit(6);
    ask(500);
    scribe.commit(7);
    ask(500);
    scribe.offer(8, None);
    scribe.commit(8);
    ask(100);
    drop(recorders);
    assert_eq!(scribe.finish(), []);
    let mut all: Vec<u64> = paths.iter().flat_map(|path| read(path)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..2600).collect::<Vec<_>>());
    assert!(paths.iter().all(|path| path.exists()), "each has its part");
    assert!(told.try_iter().any(|told| told.message.ends_with("a is open anew")));
}

#[test]
fn an_access_log_that_begins_has_the_first_request_already() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..200 {
        let path = dir.path().join(round.to_string());
        let Desk { scribe, recorders, .. } = Desk::start(1, 4096, None);
        // It may just look, or sleep.
        recorders[0].limit(1);
        recorders[0].event(&Event::new(EventKind::Shed, 0), Instant::now());
        scribe.offer(2, Some(opened(&path)));
        scribe.commit(2);
        assert!(recorders[0].access(&request(7), 100));
        assert!(recorders[0].access(&request(8), 100));
        assert!(scribe.finish().iter().all(|told| told.message.contains("shed")));
        assert_eq!(read(&path), [7, 8], "round {round}");
    }
}

#[test]
fn what_is_lost_is_counted_to_the_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let desk = Desk::start(1, 4096, Some(opened(&path)));
    let told = (0..20_000).filter(|&id| desk.recorders[0].access(&request(id), 100)).count();
    let last = desk.scribe.finish();
    assert_eq!(read(&path).len(), told, "what was told is written");
    let lost: u64 = (desk.told.try_iter().chain(last))
        .map(|told| told.message.split(' ').nth(4).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(told as u64 + lost, 20_000);
}

#[test]
fn a_full_disk_costs_lines_and_is_told_with_events_going_on() {
    let desk = Desk::start(1, 1 << 20, Some(opened("/dev/full".as_ref())));
    let [recorder] = &*desk.recorders else { panic!("one core") };
    for id in 0..10 {
        assert!(recorder.access(&request(id), 100));
    }
    desk.says("No space left on device");
    let mut unwritten = 0;
    while unwritten < 10 {
        unwritten += recorder.take_unwritten();
        thread::yield_now();
    }
    assert_eq!(unwritten, 10);
    recorder.limit(1);
    recorder.event(&Event::new(EventKind::Shed, 0), Instant::now());
    desk.says("requests are shed");
    assert!(recorder.access(&request(10), 100));
    let last = desk.scribe.finish();
    assert!(last.iter().any(|told| told.message.contains("lacks")), "{last:?}");
}

#[test]
fn a_reader_that_does_not_read_holds_up_neither_cores_nor_events_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let error = output::open(&settings(&path)).unwrap_err();
    assert!(error.contains("No such device"), "nobody reads, and nobody waits: {error}");
    let mut reader =
        std::fs::File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(&path).unwrap();
    let desk = Desk::start(1, 16 << 10, Some(opened(&path)));
    let [recorder] = &*desk.recorders else { panic!("one core") };
    let told = (0..50_000).filter(|&id| recorder.access(&request(id), 100)).count();
    recorder.limit(1);
    recorder.event(&Event::new(EventKind::Shed, 0), Instant::now());
    desk.says("requests are shed");
    let mut lost: u64 = 0;
    let last = desk.scribe.finish();
    lost += recorder.take_unwritten();
    assert!(last.iter().any(|told| told.message.contains("its reader is too slow")), "{last:?}");
    let mut text = String::new();
    // The writer has gone, so there is nothing to wait for.
    reader.read_to_string(&mut text).unwrap();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect::<String>();
    assert_eq!(ids(&whole).len() as u64 + lost, told as u64);
}
