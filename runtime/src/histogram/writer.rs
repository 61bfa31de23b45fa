//! The writing side: one writer a file, on the core that owns it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::file::{self, CreateError, Mapping, file_name};
use super::layout::{self, EPOCH_WORD, HEARTBEAT_WORD, Header, STATE_CLOSED, STATE_WORD};
use super::reader::{self, Problem};
use super::schema::{CounterId, GaugeId, HistogramId, Schema};
use super::snapshot::Snapshot;

/// Which core writes a file and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// The core's number, which also names the file.
    pub core: u32,
    /// Which of the core's files: 0 for the one it starts with.
    pub segment: u32,
    /// How many gateways handed their run over, one to the next, before this one.
    pub generation: u32,
    /// The file keeps its temporary name until [`publish`](super::publish): who takes a run over may yet fail.
    pub hidden: bool,
    /// Wall time, nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub mono_ns: u64,
}

#[derive(Debug)]
enum Memory {
    Mapped(Mapping),
    Heap(Box<[AtomicU64]>),
}

impl Memory {
    fn words(&self) -> &[AtomicU64] {
        match self {
            Memory::Mapped(mapping) => mapping.words(),
            Memory::Heap(words) => words,
        }
    }
}

/// Writes the metrics of one core.
///
/// It may move to another thread but not be shared: an update is a load and a store, not one indivisible step, which
/// is what makes it cheap. An id of another schema writes to the wrong metric or to none; it is never unsound.
#[derive(Debug)]
pub struct Writer {
    memory: Memory,
    /// Where the values start in `memory`, and how many there are: looked up once, not at each of a request's records.
    values: NonNull<[AtomicU64]>,
    one_thread: PhantomData<Cell<()>>,
}

// SAFETY: `values` points into `memory`, which goes along and may go to another thread itself.
unsafe impl Send for Writer {}

/// Nothing is written.
const IS_OFF: bool = cfg!(feature = "without-metrics");

/// A counter, ready to be added to.
#[derive(Clone, Copy, Debug)]
pub struct Counter<'a>(Option<&'a AtomicU64>, PhantomData<*const ()>);

impl Counter<'_> {
    /// Adds `n`; past 2^64 it starts again at zero.
    #[inline]
    pub fn add(self, n: u64) {
        if let Some(word) = self.0
            && !IS_OFF
        {
            word.store(word.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }
}

/// A gauge, ready to be changed.
#[derive(Clone, Copy, Debug)]
pub struct Gauge<'a>(Option<&'a AtomicU64>, PhantomData<*const ()>);

impl Gauge<'_> {
    /// Sets the value.
    #[inline]
    pub fn set(self, value: i64) {
        if let Some(word) = self.0
            && !IS_OFF
        {
            word.store(value.cast_unsigned(), Ordering::Relaxed);
        }
    }

    /// Adds `delta`, which may be negative.
    #[inline]
    pub fn add(self, delta: i64) {
        if let Some(word) = self.0
            && !IS_OFF
        {
            word.store(word.load(Ordering::Relaxed).wrapping_add_signed(delta), Ordering::Relaxed);
        }
    }
}

impl Writer {
    /// Makes the file of this core and segment in `dir`, replacing a file of that name in one step. All of its blocks are allocated
    /// first, so a disk that fills up later cannot fault a store.
    pub fn create(dir: &Path, start: &Start, schema: &Schema) -> Result<Writer, CreateError> {
        let prefix = prefix(start, schema);
        let values_word = prefix.len() / 8;
        let name = file_name(start.core, start.segment, start.generation);
        let mapping = file::create(dir, &name, start.hidden, schema.file_bytes(), |words| fill(words, &prefix))?;
        Ok(Writer::new(Memory::Mapped(mapping), values_word))
    }

    /// The same metrics in private memory, which no other process can read.
    pub fn in_memory(schema: &Schema) -> Writer {
        Writer::on_heap(&Start::default(), schema)
    }

    /// A file where it can be had, else private memory and the reason, which belongs into a warning. Traffic never
    /// depends on the metrics directory.
    pub fn create_or_in_memory(dir: &Path, start: &Start, schema: &Schema) -> (Writer, Option<CreateError>) {
        match Writer::create(dir, start, schema) {
            Ok(writer) => (writer, None),
            Err(error) => (Writer::on_heap(start, schema), Some(error)),
        }
    }

    fn on_heap(start: &Start, schema: &Schema) -> Writer {
        let prefix = prefix(start, schema);
        let words: Box<[AtomicU64]> = (0..schema.file_bytes() / 8).map(|_| AtomicU64::new(0)).collect();
        fill(&words, &prefix);
        Writer::new(Memory::Heap(words), prefix.len() / 8)
    }

    fn new(memory: Memory, values_word: usize) -> Writer {
        let values = NonNull::from(memory.words().get(values_word..).unwrap_or_default());
        Writer { memory, values, one_thread: PhantomData }
    }

    /// Whether other processes can read these metrics.
    pub fn is_mapped(&self) -> bool {
        matches!(self.memory, Memory::Mapped(_))
    }

    /// The counter of an id.
    #[inline]
    pub fn counter(&self, id: CounterId) -> Counter<'_> {
        Counter(self.values().get(id.word as usize), PhantomData)
    }

    /// The gauge of an id.
    #[inline]
    pub fn gauge(&self, id: GaugeId) -> Gauge<'_> {
        Gauge(self.values().get(id.word as usize), PhantomData)
    }

    /// Records one value, in the histogram's unit (times in nanoseconds).
    #[inline]
    pub fn record(&self, id: HistogramId, value: u64) {
        if IS_OFF {
            return;
        }
        let values = self.values();
        let first = id.word as usize;
        // The maximum goes first: who dies in between leaves one too high for the buckets, never one too low.
        if let Some(max) = values.get(first)
            && value > max.load(Ordering::Relaxed)
        {
            max.store(value, Ordering::Relaxed);
        }
        if let Some(bucket) = values.get(first + 1 + id.shape.index(value)) {
            bucket.store(bucket.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// States which plan the core runs.
    pub fn set_epoch(&self, epoch: u64) {
        self.put(EPOCH_WORD, epoch);
    }

    /// States that the core was alive at `mono_ns` of `CLOCK_MONOTONIC`.
    #[inline]
    pub fn heartbeat(&self, mono_ns: u64) {
        self.put(HEARTBEAT_WORD, mono_ns);
    }

    /// Reads everything back, as a reader of the file would. For exporters and tests: it copies the whole file.
    pub fn snapshot(&self) -> Result<Snapshot, Problem> {
        let words: Vec<u64> = self.memory.words().iter().map(|word| word.load(Ordering::Relaxed)).collect();
        reader::parse(&words)
    }

    #[inline]
    fn values(&self) -> &[AtomicU64] {
        // SAFETY: it points into `memory`, a mapping or a box, which stays where it is as long as this writer lives.
        unsafe { self.values.as_ref() }
    }

    #[inline]
    fn put(&self, word: usize, value: u64) {
        if let Some(word) = self.memory.words().get(word) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.put(STATE_WORD, STATE_CLOSED);
    }
}

pub(super) fn prefix(start: &Start, schema: &Schema) -> Vec<u8> {
    let pid = std::process::id();
    let header = Header {
        core: start.core,
        pid,
        generation: start.generation,
        process_start_ticks: reader::process_start_ticks(pid).unwrap_or(0),
        wall_ns: start.wall_ns,
        mono_ns: start.mono_ns,
    };
    layout::encode(&header, &schema.entries, schema.words)
}

pub(super) fn fill(words: &[AtomicU64], prefix: &[u8]) {
    for (word, bytes) in words.iter().zip(prefix.as_chunks::<8>().0) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
}
