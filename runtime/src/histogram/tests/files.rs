use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::file::allocate;
use super::super::{
    Distribution, Reader, SchemaBuilder, Shape, Start, State, Unit, Writer, file_name, read_dir, remove_stale,
};
use super::{START, small};

#[test]
fn a_file_tells_who_wrote_it_and_what() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let writer = Writer::create(dir.path(), &START, &small.schema).expect("a file");
    writer.counter(small.requests).add(41);
    writer.counter(small.requests).add(1);
    writer.record(small.duration, 1_500);
    writer.set_epoch(9);
    writer.heartbeat(1_234);
    assert!(writer.is_mapped());

    let reader = Reader::open(&dir.path().join("core-3.metrics")).expect("a readable file");
    let found = reader.snapshot().expect("a snapshot");
    let process = found.cores[0];
    assert_eq!((process.core, process.wall_ns, process.mono_ns), (START.core, START.wall_ns, START.mono_ns));
    assert_eq!((process.pid, process.state), (std::process::id(), State::Running));
    assert_eq!((process.epoch, process.heartbeat_mono_ns), (9, 1_234));
    assert_eq!(found.counter("requests_total", &[("status", "2xx")]), Some(42));
    assert_eq!(found.histogram("duration_seconds", &[]).map(|found| (found.count(), found.max())), Some((1, 1_500)));
    assert!(found.histogram("route_seconds", &[("route", "ü b")]).is_some());
    assert_eq!(found, writer.snapshot().expect("the same image"));

    writer.record(small.duration, 7);
    let later = reader.snapshot().expect("a second snapshot");
    assert_eq!(later.histogram("duration_seconds", &[]).map(Distribution::count), Some(2));
    drop(writer);
    assert_eq!(reader.snapshot().expect("after the end").cores[0].state, State::Closed);
}

#[test]
fn all_blocks_are_allocated_before_the_file_has_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let _writer = Writer::create(dir.path(), &START, &small.schema).expect("a file");
    let found = fs::metadata(dir.path().join("core-3.metrics")).expect("the file");
    assert_eq!(found.len(), small.schema.file_bytes() as u64);
    assert!(found.blocks() * 512 >= found.len(), "{} blocks for {} bytes", found.blocks(), found.len());
    assert_eq!(fs::read_dir(dir.path()).expect("a listing").count(), 1, "nothing temporary is left");
}

#[test]
fn a_new_run_replaces_the_file_and_whoever_has_the_old_one_open_keeps_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let old = Writer::create(dir.path(), &START, &small.schema).expect("a file");
    old.counter(small.requests).add(5);
    let old_reader = Reader::open(&dir.path().join("core-3.metrics")).expect("the old file");
    let new = Writer::create(dir.path(), &Start { mono_ns: 78, ..START }, &small.schema).expect("a file");
    old.counter(small.requests).add(5);
    new.counter(small.requests).add(1);

    let labels = [("status", "2xx")];
    let found = read_dir(dir.path()).expect("a listing");
    assert_eq!(found.len(), 1);
    let found = found[0].as_ref().expect("the new file");
    assert_eq!((found.cores[0].mono_ns, found.counter("requests_total", &labels)), (78, Some(1)));
    assert_eq!(old_reader.snapshot().expect("the old file").counter("requests_total", &labels), Some(10));
}

#[test]
fn stale_cores_and_half_made_files_are_removed_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let ours = ["core-0.metrics", "core-0.1.metrics", "core-7.metrics", "core-7.12.metrics"];
    let others = ["core-07.metrics", "core-0.0.metrics", "core-0.01.metrics", "core-0.1.2.metrics", "notes.txt"];
    let names = ours.iter().chain(&others).chain(&[".core-1.metrics.4294967295", ".core-1.3.metrics.4294967295"]);
    for name in names {
        fs::write(dir.path().join(name), "x").expect("a file");
    }
    let half_made_by_us = format!(".core-1.metrics.{}", std::process::id());
    fs::write(dir.path().join(&half_made_by_us), "x").expect("a file");
    assert_eq!(remove_stale(dir.path(), &[0, 1]).expect("a sweep"), 5);
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).expect("a listing").map(|entry| entry.expect("an entry").file_name()).collect();
    left.sort();
    let mut expected = [&[half_made_by_us.as_str(), "core-0.metrics"], &others[..]].concat();
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[test]
fn later_segments_of_a_core_are_read_with_its_first_unless_another_run_wrote_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let schema = |name| {
        let mut builder = SchemaBuilder::new();
        let id = builder.counter(name, Unit::None, &[]);
        (builder.build().expect("a sound schema"), id)
    };
    let names = ["first_total", "second_total", "third_total"];
    let writers: Vec<Writer> = (0..)
        .zip(names)
        .map(|(segment, name)| {
            let (schema, id) = schema(name);
            let writer = Writer::create(dir.path(), &Start { segment, ..START }, &schema).expect("a file");
            writer.counter(id).add(u64::from(segment) + 5);
            writer
        })
        .collect();
    let all = read_dir(dir.path()).expect("a listing");
    let [Ok(found)] = &all[..] else { panic!("one core: {all:?}") };
    assert_eq!(names.map(|name| found.counter(name, &[])), [Some(5), Some(6), Some(7)]);
    assert_eq!(found.cores.len(), 1);
    drop(writers);

    // Another run: it says so by another start of its process.
    let path = dir.path().join(file_name(START.core, 2, 0));
    let mut bytes = fs::read(&path).expect("the file");
    bytes[72] ^= 1;
    super::damage::make_checksum_right(&mut bytes);
    fs::write(&path, bytes).expect("a file");
    let all = read_dir(dir.path()).expect("a listing");
    let [Ok(found)] = &all[..] else { panic!("one core: {all:?}") };
    assert_eq!(names.map(|name| found.counter(name, &[])), [Some(5), Some(6), None]);
    // A segment alone says too little.
    fs::remove_file(dir.path().join(file_name(START.core, 0, 0))).expect("it is there");
    assert!(read_dir(dir.path()).expect("a listing").is_empty());
}

#[test]
fn without_a_directory_the_metrics_stay_in_memory_and_the_reason_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let blocked = dir.path().join("file");
    fs::write(&blocked, "").expect("a file");
    let small = small();
    let (writer, warning) = Writer::create_or_in_memory(&blocked, &START, &small.schema);
    writer.counter(small.requests).add(3);
    assert!(!writer.is_mapped());
    let found = writer.snapshot().expect("an image");
    assert_eq!(found.counter("requests_total", &[("status", "2xx")]), Some(3));
    assert_eq!(found.cores[0].core, START.core);
    let warning = warning.expect("a reason").to_string();
    assert!(warning.starts_with(&format!("{}: could not use the directory", blocked.display())), "{warning}");
}

#[test]
fn a_directory_that_others_can_write_to_is_refused_unless_it_is_sticky() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let create = |mode| {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).expect("a mode");
        Writer::create(dir.path(), &START, &small.schema).map(drop).map_err(|error| error.source.kind())
    };
    assert_eq!(create(0o777), Err(io::ErrorKind::PermissionDenied));
    assert_eq!(create(0o1777), Ok(()));
    assert_eq!(create(0o755), Ok(()));
}

#[test]
fn a_link_in_place_of_the_temporary_file_is_not_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").expect("a file");
    let temporary = dir.path().join(format!(".{}.{}", file_name(START.core, START.segment, 0), std::process::id()));
    std::os::unix::fs::symlink(&victim, temporary).expect("a link");
    Writer::create(dir.path(), &START, &small().schema).map(drop).expect("a file");
    assert_eq!(fs::read_to_string(&victim).expect("the victim"), "precious");
}

#[test]
fn more_than_the_disk_has_is_an_error() {
    let file = tempfile::tempfile().expect("a file");
    let error = allocate(&file, 1 << 60).expect_err("no disk has that");
    let expected = [libc::ENOSPC, libc::EFBIG, libc::ENOMEM];
    assert!(error.raw_os_error().is_some_and(|error| expected.contains(&error)), "{error}");
}

#[test]
fn more_than_the_limit_on_file_sizes_is_an_error_and_no_signal() {
    let file = tempfile::tempfile().expect("a file");
    // SAFETY: the child makes system calls alone, on its own copy of the process, and leaves without unwinding.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let limit = libc::rlimit { rlim_cur: 4096, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: limit is readable; SIG_DFL is a valid disposition, and what SIGXFSZ does then is the point.
        unsafe {
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
            libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
        }
        let fits = allocate(&file, 4096).is_ok();
        let refused = allocate(&file, 8192).is_err_and(|error| error.raw_os_error() == Some(libc::EFBIG));
        // SAFETY: _exit runs nothing of the parent's.
        unsafe { libc::_exit(if fits && refused { 7 } else { 8 }) };
    }
    let mut status = 0;
    // SAFETY: the child is ours and not yet waited for; status is a valid place for the answer.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "killed by signal {}", libc::WTERMSIG(status));
    assert_eq!(libc::WEXITSTATUS(status), 7);
}

/// Mounts a file system of `bytes` on `at` for this thread alone. False where the user may not.
fn mount_small(at: &Path, bytes: usize) -> bool {
    use std::ffi::CString;
    let target = CString::new(at.to_str().expect("a path")).expect("no NUL");
    let options = CString::new(format!("size={bytes}")).expect("no NUL");
    // SAFETY: unshare and mount read only the C strings given, which live until the calls return. The new mount
    // namespace belongs to the calling thread and goes with it.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
            && libc::mount(c"none".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) == 0
    }
}

#[test]
fn a_full_disk_neither_faults_a_live_writer_nor_kills_a_starting_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = small();
    let file_bytes = small.schema.file_bytes();
    let on_small_disk = || {
        if !mount_small(dir.path(), file_bytes * 3 / 2) {
            return false;
        }
        let writer = Writer::create(dir.path(), &START, &small.schema).expect("room for one file");
        let second = Start { core: 4, ..START };
        let (in_memory, warning) = Writer::create_or_in_memory(dir.path(), &second, &small.schema);
        let warning = warning.expect("no room for two").source;
        assert_eq!((in_memory.is_mapped(), warning.kind()), (false, io::ErrorKind::StorageFull));
        assert_eq!(fs::read_dir(dir.path()).expect("a listing").count(), 1, "the failed file is gone");
        // Fill what is left, then touch every page of the mapping.
        let filled = fs::write(dir.path().join("filler"), vec![1; file_bytes]).expect_err("a full disk");
        assert_eq!(filled.kind(), io::ErrorKind::StorageFull);
        for exponent in 0..42 {
            writer.record(small.duration, 1 << exponent);
        }
        let found = Reader::open(&dir.path().join("core-3.metrics")).and_then(|reader| reader.snapshot());
        let found = found.expect("a snapshot on a full disk");
        assert_eq!(found.histogram("duration_seconds", &[]).map(Distribution::count), Some(42));
        true
    };
    let ran = std::thread::scope(|scope| scope.spawn(on_small_disk).join()).expect("no panic");
    // Mounting needs root. Without it `more_than_the_disk_has_is_an_error` covers the refusal alone.
    // SAFETY: geteuid has no precondition.
    assert!(ran || unsafe { libc::geteuid() } != 0 || !may_mount(), "root could not mount a small disk");
}

/// Whether this root is a full one; in a container it often is not.
fn may_mount() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let caps = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities");
    u64::from_str_radix(caps.trim(), 16).expect("a hexadecimal set") & (1 << CAP_SYS_ADMIN) != 0
}

#[test]
fn a_reader_never_sees_half_a_word_nor_a_count_outside_its_bounds() {
    const ROUNDS: usize = 300;
    let dir = tempfile::tempdir().expect("a directory");
    let mut builder = SchemaBuilder::new();
    let before = builder.counter("begun_total", Unit::None, &[]);
    let flips = builder.gauges("flip", Unit::None, ["0", "1", "2", "3"].map(|n| [("n", n)]));
    let duration = builder.histogram("time_seconds", Unit::Seconds, Shape::FINE, &[]);
    let after = builder.counter("done_total", Unit::None, &[]);
    let writer = Writer::create(dir.path(), &START, &builder.build().expect("a schema")).expect("a file");
    let reader = Reader::open(&dir.path().join("core-3.metrics")).expect("a readable file");
    let stop = AtomicBool::new(false);
    let write = || {
        let writer = writer;
        let mut round = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            writer.counter(before).add(1);
            for n in 0..4 {
                // All bits change at once, so any torn word shows.
                writer.gauge(flips.get(n).expect("four")).set(if round.is_multiple_of(2) { 0 } else { -1 });
            }
            writer.record(duration, round % 1_000_000);
            writer.counter(after).add(1);
            round += 1;
        }
        round
    };
    std::thread::scope(|scope| {
        let written = scope.spawn(write);
        let mut last = 0;
        for _ in 0..ROUNDS {
            let earlier = reader.snapshot().expect("a snapshot").counter("done_total", &[]).expect("a counter");
            let found = reader.snapshot().expect("a snapshot");
            let later = reader.snapshot().expect("a snapshot").counter("begun_total", &[]).expect("a counter");
            for n in ["0", "1", "2", "3"] {
                let flip = found.gauge("flip", &[("n", n)]).expect("a gauge");
                assert!(flip == 0 || flip == -1, "half a word: {flip:x}");
            }
            let count = found.histogram("time_seconds", &[]).expect("a histogram").count();
            assert!(earlier <= count && count <= later, "{count} is not between {earlier} and {later}");
            assert!(count >= last, "{count} went down from {last}");
            last = count;
        }
        stop.store(true, Ordering::Relaxed);
        let rounds = written.join().expect("no panic");
        let found = reader.snapshot().expect("the last snapshot");
        assert_eq!(found.histogram("time_seconds", &[]).map(Distribution::count), Some(rounds));
        assert_eq!(found.cores[0].state, State::Closed);
    });
}

#[test]
fn a_writer_killed_at_any_instruction_loses_at_most_the_record_it_was_making() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut builder = SchemaBuilder::new();
    let begun = builder.counter("begun_total", Unit::None, &[]);
    let duration = builder.histogram("time_seconds", Unit::Seconds, Shape::FINE, &[]);
    let done = builder.counter("done_total", Unit::None, &[]);
    let writer = Writer::create(dir.path(), &START, &builder.build().expect("a schema")).expect("a file");
    let reader = Reader::open(&dir.path().join("core-3.metrics")).expect("a readable file");
    let numbers = || {
        let found = reader.snapshot().expect("a snapshot");
        let counter = |name| found.counter(name, &[]).expect("a counter");
        let count = found.histogram("time_seconds", &[]).expect("a histogram").count();
        (counter("begun_total"), count, counter("done_total"))
    };
    // SAFETY: the child only stores to the mapping that it shares with us, which neither allocates nor locks.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: prctl with these arguments reads no memory. Should a check fail, the child goes with our thread.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        for value in 0_u64.. {
            writer.counter(begun).add(1);
            writer.record(duration, value % 10_000_000);
            writer.counter(done).add(1);
        }
    }
    assert!(child > 0, "no child");
    while numbers().2 < 100_000 {
        std::thread::yield_now();
    }
    let mut status = 0;
    // SAFETY: the child is ours and not yet waited for; status is a valid place for the answer.
    let ended = unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, &raw mut status, 0)
    };
    assert_eq!((ended, libc::WTERMSIG(status)), (child, libc::SIGKILL));
    let (begun, count, done) = numbers();
    assert!(done <= count && count <= begun && begun - done <= 1, "{begun} begun, {count} counted, {done} done");
    assert_eq!(numbers(), (begun, count, done), "nobody writes any more");
}
