//! Where endpoints come from, as the rest of discovery sees it: something that can be asked for a set, and answers with
//! one or says why not. All sources are asked on one thread beside control's.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::dns::DnsSource;
use super::file::FileSource;
use crate::plan::{Discover, DiscoverIn, Endpoint};

/// What a source found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) endpoints: Vec<Endpoint>,
    /// When to ask again; only when somebody says that there is something new where absent. A source whose answer waits
    /// until something changes is asked again at once.
    pub(super) again: Option<Duration>,
}

/// A look at a source, under way.
pub(super) type Look<'a> = Pin<Box<dyn Future<Output = Result<Found, String>> + Send + 'a>>;

/// Something that knows the endpoints of an upstream. One that is new has a file here and a line in [`of`].
pub(super) trait Source: Send {
    /// Asks it. The error says why it does not know, in a few words or as a report.
    fn look(&mut self) -> Look<'_>;

    /// How long to wait after a failure, and after several in a row at most.
    fn patience(&self) -> (Duration, Duration);
}

/// The source that a plan wants; none for endpoints that come by themselves.
fn of(rule: &Discover) -> Option<Box<dyn Source>> {
    match &rule.place {
        DiscoverIn::Dns(dns) => Some(Box::new(DnsSource::of_addresses(dns))),
        DiscoverIn::Srv(dns) => Some(Box::new(DnsSource::of_servers(dns, rule.max_endpoints as usize))),
        DiscoverIn::File(path) => Some(Box::new(FileSource::new(path))),
        DiscoverIn::Registration(_) => None,
    }
}

/// What a look at a source came to.
#[derive(Debug)]
pub(in crate::control) struct Report {
    pub(super) upstream: Arc<str>,
    /// Which of the sources that the upstream has had.
    pub(super) nth: u64,
    pub(super) result: Result<Vec<Endpoint>, String>,
    /// When it is asked again by itself.
    pub(super) again: Option<Duration>,
}

enum Order {
    Start {
        upstream: Arc<str>,
        nth: u64,
        source: Box<dyn Source>,
    },
    Stop(Arc<str>),
    LookAgain(Arc<str>),
    /// Something slow that is no look.
    Do(Box<dyn FnOnce() + Send>),
}

/// The thread that asks the sources.
pub(super) struct Looker {
    orders: UnboundedSender<Order>,
}

impl Looker {
    /// Starts the thread. It ends with this.
    pub(super) fn start(tell: impl Fn(Report) + Send + Sync + 'static) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(2)
            .thread_name("ringway-discovery-wait")
            .build()?;
        let (orders, taken) = unbounded_channel();
        thread::Builder::new().name("ringway-discovery".to_owned()).spawn(move || {
            runtime.block_on(run(taken, Arc::new(tell)));
            // A file system that does not answer must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(Self { orders })
    }

    /// Asks the source of an upstream from now on, and no other that it had. False where it is none to be asked.
    pub(super) fn ask(&self, upstream: &Arc<str>, nth: u64, rule: &Discover) -> bool {
        let source = of(rule);
        let is_asked = source.is_some();
        // Where the thread has ended the process is about to.
        let _ = match source {
            Some(source) => self.orders.send(Order::Start { upstream: upstream.clone(), nth, source }),
            None => self.orders.send(Order::Stop(upstream.clone())),
        };
        is_asked
    }

    /// Asks no source of this upstream any more.
    pub(super) fn stop(&self, upstream: &Arc<str>) {
        let _ = self.orders.send(Order::Stop(upstream.clone()));
    }

    /// Asks the source of this upstream now.
    pub(super) fn look_again(&self, upstream: &Arc<str>) {
        let _ = self.orders.send(Order::LookAgain(upstream.clone()));
    }

    /// Does something slow, one after the other.
    pub(super) fn run(&self, what: impl FnOnce() + Send + 'static) {
        let _ = self.orders.send(Order::Do(Box::new(what)));
    }
}

type Tell = Arc<dyn Fn(Report) + Send + Sync>;

/// One source that is asked.
struct Asked {
    again: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut orders: UnboundedReceiver<Order>, tell: Tell) {
    let mut asked: HashMap<Arc<str>, Asked> = HashMap::new();
    while let Some(order) = orders.recv().await {
        match order {
            Order::Start { upstream, nth, source } => {
                let (again, wanted) = watch::channel(());
                let task = tokio::spawn(ask(upstream.clone(), nth, source, wanted, tell.clone()));
                asked.insert(upstream, Asked { again, task });
            }
            Order::Stop(upstream) => drop(asked.remove(&upstream)),
            Order::LookAgain(upstream) => {
                if let Some(asked) = asked.get(&upstream) {
                    let _ = asked.again.send(());
                }
            }
            Order::Do(what) => {
                let _ = tokio::task::spawn_blocking(what).await;
            }
        }
    }
}

/// Asks one source again and again.
async fn ask(upstream: Arc<str>, nth: u64, mut source: Box<dyn Source>, mut wanted: watch::Receiver<()>, tell: Tell) {
    let (first, longest) = source.patience();
    let mut patience = first;
    loop {
        let (result, again) = match source.look().await {
            Ok(Found { endpoints, again }) => {
                patience = first;
                (Ok(endpoints), again)
            }
            Err(why) => {
                let again = patience;
                patience = (patience * 2).min(longest);
                (Err(why), Some(again))
            }
        };
        tell(Report { upstream: upstream.clone(), nth, result, again });
        let rest = async {
            match again {
                Some(again) => tokio::time::sleep(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = rest => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
    }
}
