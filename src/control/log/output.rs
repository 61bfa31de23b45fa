//! Where the access log goes, written without ever waiting for a reader.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use crate::plan::{AccessLog, LogTo};

/// Bytes of lines that may wait for a slow reader.
const WAITING_MAX: usize = 1 << 20;
/// What a pipe that is ready takes at once (POSIX: `PIPE_BUF` is at least 512, on Linux 4,096).
const PIECE: usize = 4096;

/// An access log that can be written.
#[derive(Debug)]
pub(in crate::control) struct Opened {
    pub(super) settings: AccessLog,
    file: File,
    /// Writing may have to wait for a reader.
    has_reader: bool,
}

/// Opens what the config asks for. A pipe that nobody reads is an error, so that no one waits for a reader. The error says what is wrong with it.
pub(in crate::control) fn open(settings: &AccessLog) -> Result<Opened, String> {
    let opened = match &settings.to {
        // A handle of our own: that of the standard library may be locked.
        LogTo::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        LogTo::File(path) => {
            let flags = OFlags::NONBLOCK.bits() as i32;
            OpenOptions::new().create(true).append(true).mode(0o640).custom_flags(flags).open(path)
        }
    };
    let file = opened.map_err(|error| format!("access_log.to: {}: {error}", name(settings)))?;
    // What cannot be told is taken for the harder case.
    let has_reader = file.metadata().map_or(true, |metadata| {
        let kind = metadata.file_type();
        kind.is_fifo() || kind.is_socket() || kind.is_char_device()
    });
    Ok(Opened { settings: settings.clone(), file, has_reader })
}

/// What it is called in the log.
pub(super) fn name(settings: &AccessLog) -> String {
    match &settings.to {
        LogTo::Stdout => "standard output".to_owned(),
        LogTo::File(path) => path.display().to_string(),
    }
}

/// How far writing got.
#[derive(Debug)]
pub(super) enum Wrote {
    /// Everything is written.
    All,
    /// The reader takes no more now.
    Stuck,
    /// It failed, and so many lines are lost.
    Failed(io::Error, u64),
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Those before are written.
    written: usize,
    /// The last line that was begun is not whole: what follows begins a new one.
    is_torn: bool,
}

impl Lines {
    /// Whether there is room for another line.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() - self.written < WAITING_MAX
    }

    /// Where to append a line.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == self.written
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// Forgets the lines, and says how many of them are not whole in the log.
    pub(super) fn give_up(&mut self) -> u64 {
        let lost = self.rest().split(|&byte| byte == b'\n').count() - 1;
        // A line has begun where what was written last does not end one.
        self.is_torn |= self.written > 0 && self.bytes.get(self.written - 1) != Some(&b'\n');
        self.bytes.clear();
        self.written = 0;
        lost as u64
    }

    /// What follows goes elsewhere: a line that was begun is written there as a whole.
    pub(super) fn begin_anew(&mut self) {
        self.written = self.whole_lines();
        self.is_torn = false;
    }

    /// Bytes of the lines that are written as a whole.
    fn whole_lines(&self) -> usize {
        let written = self.bytes.get(..self.written).unwrap_or_default();
        written.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
    }

    /// Writes as much as goes without waiting for a reader.
    pub(super) fn write(&mut self, to: &mut Opened) -> Wrote {
        let wrote = self.write_some(to);
        let behind = self.whole_lines();
        // A reader that never catches up must not have the buffer grow.
        if behind == self.bytes.len() || behind >= WAITING_MAX / 4 {
            self.bytes.drain(..behind);
            self.written -= behind;
        }
        wrote
    }

    fn write_some(&mut self, to: &mut Opened) -> Wrote {
        while !self.is_empty() {
            if to.has_reader && !to.is_ready(Duration::ZERO) {
                return Wrote::Stuck;
            }
            let most = if to.has_reader { PIECE } else { usize::MAX };
            let piece: &[u8] = if self.is_torn { b"\n" } else { self.rest() };
            match to.file.write(&piece[..piece.len().min(most)]) {
                Ok(0) => return Wrote::Failed(ErrorKind::WriteZero.into(), self.give_up()),
                Ok(_) if self.is_torn => self.is_torn = false,
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Standard output may be shared with somebody who made it so.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Wrote::Stuck,
                Err(error) => return Wrote::Failed(error, self.give_up()),
            }
        }
        Wrote::All
    }
}

impl Opened {
    /// Waits until it takes something, at most for so long. What is broken is ready: writing says why.
    pub(super) fn is_ready(&self, timeout: Duration) -> bool {
        let mut fds = [PollFd::new(&self.file, PollFlags::OUT)];
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        poll(&mut fds, Some(&timeout)).map_or(true, |ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::plan::AccessFormat;

    fn settings(to: LogTo) -> AccessLog {
        AccessLog { to, format: AccessFormat::Json, flush: Duration::from_millis(1), field: 100 }
    }

    fn pipe() -> (io::PipeReader, Opened) {
        let (reader, writer) = io::pipe().unwrap();
        (
            reader,
            Opened { settings: settings(LogTo::Stdout), file: File::from(OwnedFd::from(writer)), has_reader: true },
        )
    }

    fn add(lines: &mut Lines, count: usize) {
        for at in 0..count {
            lines.buffer().extend_from_slice(format!("line {at} {}\n", "x".repeat(100)).as_bytes());
        }
    }

    #[test]
    fn a_file_gets_all_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "before\n").unwrap();
        let mut opened = open(&settings(LogTo::File(path.clone()))).unwrap();
        let mut lines = Lines::default();
        lines.buffer().extend_from_slice(b"one\n");
        assert!(matches!(lines.write(&mut opened), Wrote::All));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\none\n");
        let error = open(&settings(LogTo::File(dir.path().join("none/access.log")))).unwrap_err();
        assert!(error.contains("none/access.log: No such file"), "{error}");
    }

    #[test]
    fn a_reader_that_does_not_read_is_not_waited_for_and_gets_whole_lines_in_the_end() {
        let (mut reader, mut opened) = pipe();
        let mut lines = Lines::default();
        add(&mut lines, 2000);
        let all = lines.buffer().clone();
        assert!(matches!(lines.write(&mut opened), Wrote::Stuck));
        assert!(!opened.is_ready(Duration::ZERO));
        let (mut found, mut some) = (Vec::new(), [0; 5000]);
        while !matches!(lines.write(&mut opened), Wrote::All) {
            let read = reader.read(&mut some).unwrap();
            found.extend_from_slice(&some[..read]);
        }
        drop(opened);
        reader.read_to_end(&mut found).unwrap();
        assert_eq!(found, all);
    }

    #[test]
    fn lines_that_are_given_up_are_counted_and_the_torn_one_ends_before_the_next() {
        let (mut reader, mut opened) = pipe();
        let mut lines = Lines::default();
        add(&mut lines, 2000);
        assert!(matches!(lines.write(&mut opened), Wrote::Stuck));
        let lost = lines.give_up();
        let mut some = vec![0; 1 << 20];
        let mut found = Vec::new();
        let read = reader.read(&mut some).unwrap();
        found.extend_from_slice(&some[..read]);
        lines.buffer().extend_from_slice(b"after\n");
        assert!(matches!(lines.write(&mut opened), Wrote::All));
        drop(opened);
        reader.read_to_end(&mut found).unwrap();
        let text = String::from_utf8(found).unwrap();
        let whole = text.lines().filter(|line| line.ends_with(&"x".repeat(100))).count() as u64;
        assert_eq!(whole + lost, 2000, "a torn line counts as lost");
        assert_eq!(text.lines().last(), Some("after"));
    }

    #[test]
    fn a_full_disk_and_a_closed_pipe_lose_what_is_there_and_say_so() {
        let mut full = open(&settings(LogTo::File("/dev/full".into()))).unwrap();
        let mut lines = Lines::default();
        add(&mut lines, 10);
        assert!(matches!(lines.write(&mut full), Wrote::Failed(error, 10) if error.kind() == ErrorKind::StorageFull));
        assert!(lines.is_empty());
        let (reader, mut closed) = pipe();
        drop(reader);
        add(&mut lines, 3);
        assert!(matches!(lines.write(&mut closed), Wrote::Failed(error, 3) if error.kind() == ErrorKind::BrokenPipe));
    }
}
