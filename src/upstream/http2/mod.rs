//! Connections of HTTP/2 to one endpoint, which many requests share. What a request gets is one end of a pair of streams on
//! which it speaks HTTP/1.1; the other end belongs to the task of a connection, which makes a stream of each request
//! (`driver`). So the rest of the gateway does not know the difference.

mod carried;
mod driver;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_proto::http2;
use ringway_runtime::engine::{Engine, Stream};
use ringway_runtime::net::Address;

use self::driver::Driver;
use super::secure::Secure;
use crate::flow::turn;
use crate::observe::Metrics;
use crate::tls::Protocol;

/// Bytes each way that count as sent before the other end has read them.
const PIPE: usize = 16 << 10;

/// What connections to an endpoint are made with.
pub(crate) struct Dial<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) metrics: &'a Rc<Metrics>,
    /// `HOST:PORT`, as the config names the endpoint.
    pub(crate) name: &'a str,
    pub(crate) address: &'a Address,
    /// Where it speaks TLS: then HTTP/2 has to be agreed on there.
    pub(crate) secure: Option<&'a Rc<Secure>>,
    pub(crate) config: &'a http2::Config,
    /// How long a connection may take to come about.
    pub(crate) connect: Duration,
    /// How long one may have nothing to do.
    pub(crate) idle: Duration,
}

/// The connections to one endpoint.
#[derive(Default)]
pub(crate) struct Mux {
    links: RefCell<Vec<Rc<Link>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Up,
    /// It takes no more requests.
    Closed(Option<io::ErrorKind>),
}

/// One connection, as those see it who have requests for it.
struct Link {
    state: Cell<State>,
    /// Places for requests, and how many of them are taken: a place is kept between two requests.
    most: Cell<u32>,
    taken: Cell<u32>,
    /// Ends of pairs that the driver has not taken up yet.
    fresh: RefCell<VecDeque<Stream>>,
    driver: RefCell<Option<Waker>>,
    waiting: RefCell<Vec<Waker>>,
}

/// A place that is taken and not used yet.
struct Place(Rc<Link>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Mux {
    /// A stream on which requests of HTTP/1.1 may be sent one after the other. It is of a connection that has room for one
    /// more, or of a new one. The error of a TLS handshake that came to nothing is `InvalidData`.
    pub(crate) async fn connect(&self, dial: &Dial<'_>) -> io::Result<Stream> {
        let engine = dial.engine;
        let place = Place(self.link(dial));
        let link = &place.0;
        poll_fn(|cx| link.poll_up(cx)).await?;
        let (stream, end) = engine.pair(PIPE, None);
        link.fresh.borrow_mut().push_back(end);
        // Who drives it gives the place back.
        link.taken.set(link.taken.get() + 1);
        link.wake_driver();
        Ok(stream)
    }

    /// A connection with room for one more, whose place is taken.
    fn link(&self, dial: &Dial<'_>) -> Rc<Link> {
        let mut links = self.links.borrow_mut();
        links.retain(|link| !matches!(link.state.get(), State::Closed(_)));
        let found = links.iter().find(|link| link.taken.get() < link.most.get());
        let link = found.cloned().unwrap_or_else(|| {
            let link = Rc::new(Link {
                state: Cell::new(State::Connecting),
                most: Cell::new(dial.config.streams),
                taken: Cell::new(0),
                fresh: RefCell::default(),
                driver: RefCell::default(),
                waiting: RefCell::default(),
            });
            dial.engine.spawn(run(link.clone(), dial));
            links.push(link.clone());
            link
        });
        link.taken.set(link.taken.get() + 1);
        link
    }
}

impl Link {
    fn poll_up(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.state.get() {
            State::Up => Poll::Ready(Ok(())),
            State::Closed(error) => Poll::Ready(Err(error.unwrap_or(io::ErrorKind::ConnectionAborted).into())),
            State::Connecting => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn set(&self, state: State) {
        self.state.set(state);
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }

    fn leave(&self) {
        self.taken.set(self.taken.get() - 1);
        if self.taken.get() == 0 {
            self.wake_driver();
        }
    }

    fn wake_driver(&self) {
        let driver = self.driver.borrow().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

/// A connection on which HTTP/2 may be spoken.
async fn dialled(engine: &Engine, name: &str, address: &Address, secure: Option<&Secure>) -> io::Result<Stream> {
    let stream = engine.connect(address).await?;
    let Some(secure) = secure else { return Ok(stream) };
    match secure.over(stream, name).await {
        Some((stream, Protocol::Http2)) => Ok(stream),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Makes a connection, and drives it to its end.
fn run(link: Rc<Link>, dial: &Dial<'_>) -> impl Future<Output = ()> + use<> {
    let (engine, metrics) = (dial.engine.clone(), dial.metrics.clone());
    let Dial { connect, idle, .. } = *dial;
    let (name, address, secure) = (dial.name.to_owned(), dial.address.clone(), dial.secure.cloned());
    let config = *dial.config;
    async move {
        let timer = engine.timer();
        timer.set(engine.now() + connect);
        let connected = {
            let mut connecting = pin!(dialled(&engine, &name, &address, secure.as_deref()));
            poll_fn(|cx| match connecting.as_mut().poll(cx) {
                Poll::Ready(connected) => Poll::Ready(connected),
                Poll::Pending => timer.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            })
            .await
        };
        let stream = match connected {
            Ok(stream) => stream,
            Err(error) => return link.set(State::Closed(Some(error.kind()))),
        };
        link.set(State::Up);
        let mut driver = Driver::new(engine, metrics, link.clone(), timer, stream, &config, idle);
        let ends_well = poll_fn(|cx| turn::poll(&mut driver, cx)).await;
        driver.end();
        if ends_well {
            // GOAWAY is on its way, but not for ever.
            driver.last_words(connect).await;
        }
    }
}
