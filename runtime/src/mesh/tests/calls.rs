//! Questions and answers.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{capacity, on_every_engine, small};
use crate::engine::{EngineKind, run};
use crate::mesh::{Call, CallError, CallLimits, Calls, Mesh, Peer, Seat, owner_of};

type Number = Seat<Call<u64, u64>>;

#[test]
fn every_question_gets_its_own_answer_from_its_owner() {
    const QUESTIONS: u64 = 300;
    on_every_engine(3, capacity(64), |core, engine, seat: Number| async move {
        // A running total of each owner, as a shared counter would be.
        let total = Rc::new(Cell::new(0));
        let (sum, limits) = (total.clone(), CallLimits { deadline: Duration::from_mins(1), ..CallLimits::default() });
        let calls = Calls::attach(seat, &engine, limits, move |_, number| {
            sum.set(sum.get() + number);
            number * 10 + u64::from(core)
        })
        .unwrap();
        let done = Rc::new(Cell::new(0));
        for number in 0..QUESTIONS {
            let owner = owner_of(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 3);
            let Peer::Core(place) = owner else { panic!("control owns nothing") };
            // Some questions wait together, as many as the rings take.
            let (calls, inner, done) = (calls.clone(), engine.clone(), done.clone());
            engine.spawn(async move {
                loop {
                    match calls.ask(owner, number).await {
                        Err(CallError::Busy) => inner.sleep(Duration::from_millis(1)).await,
                        answer => {
                            assert_eq!(answer, Ok(number * 10 + u64::from(place)));
                            done.set(done.get() + 1);
                            return;
                        }
                    }
                }
            });
        }
        while done.get() < QUESTIONS {
            engine.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((calls.in_flight(), calls.stats().late, calls.stats().unwanted), (0, 0, 0));
        // Each owner waits until all have asked: three askers ask the same.
        let owned = (0..QUESTIONS)
            .filter(|number| owner_of(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 3) == Peer::Core(core))
            .sum::<u64>();
        while total.get() < 3 * owned {
            engine.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(total.get(), 3 * owned);
    });
}

#[test]
fn a_question_to_oneself_is_answered_at_once_and_may_ask_on() {
    run(EngineKind::Ring, &small(), |engine| async move {
        let mut mesh = Mesh::new(1, capacity(4));
        let again: Rc<RefCell<Option<Calls<u64, u64>>>> = Rc::default();
        let inner = again.clone();
        let calls = Calls::attach(mesh.cores.remove(0), &engine, CallLimits::default(), move |from, number| {
            assert_eq!(from, Peer::Core(0));
            let calls = inner.borrow().clone();
            match calls.filter(|_| number > 0) {
                Some(calls) => match poll_once(calls.ask(Peer::Core(0), number - 1)) {
                    Poll::Ready(Ok(answer)) => answer + 1,
                    other => panic!("{other:?}"),
                },
                None => 0,
            }
        })
        .unwrap();
        *again.borrow_mut() = Some(calls.clone());
        assert_eq!(poll_once(calls.ask(Peer::Core(0), 5)), Poll::Ready(Ok(5)));
        assert_eq!((calls.stats().asked, calls.stats().answered, calls.in_flight()), (6, 6, 0));
        again.take();
    })
    .unwrap();
}

fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn an_owner_that_does_not_answer_costs_the_deadline_and_its_late_answer_reaches_nobody() {
    on_every_engine(2, capacity(8), |core, engine, seat: Number| async move {
        let limits = CallLimits { in_flight: 2, deadline: Duration::from_millis(20) };
        if core == 1 {
            // Long past every deadline of the other.
            engine.sleep(Duration::from_millis(100)).await;
        }
        let calls = Calls::attach(seat, &engine, limits, |_, number| number + 1).unwrap();
        if core == 1 {
            while calls.stats().answered < 4 {
                engine.sleep(Duration::from_millis(1)).await;
            }
            return;
        }
        let owner = Peer::Core(1);
        assert_eq!(calls.ask(owner, 1).await, Err(CallError::Late));
        // Who gives up frees its slot.
        let mut given_up = calls.ask(owner, 2);
        poll_fn(|cx| {
            assert!(std::pin::Pin::new(&mut given_up).poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(calls.in_flight(), 1);
        drop(given_up);
        assert_eq!(calls.in_flight(), 0);
        let (first, second) = (calls.ask(owner, 3), calls.ask(owner, 4));
        assert_eq!(calls.ask(owner, 5).await, Err(CallError::Busy));
        assert_eq!((first.await, second.await), (Err(CallError::Late), Err(CallError::Late)));
        assert_eq!((calls.in_flight(), calls.stats().late, calls.stats().busy), (0, 3, 1));
        // Four are unanswered now, half of what the rings hold, though nobody waits for them.
        assert_eq!(calls.ask(owner, 6).await, Err(CallError::Busy));
        while calls.stats().unwanted < 4 {
            engine.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(calls.ask(owner, 7).await.map_or(8, |answer| answer), 8);
    });
}

#[test]
fn an_owner_that_has_ended_is_said_to_have() {
    on_every_engine(2, capacity(4), |core, engine, seat: Number| async move {
        if core == 1 {
            return;
        }
        let calls = Calls::attach(seat, &engine, CallLimits::default(), |_, number| number).unwrap();
        while calls.ask(Peer::Core(1), 1).await != Err(CallError::Ended) {}
        assert_eq!(calls.ask(Peer::Core(5), 1).await, Err(CallError::Ended), "it never was");
        assert_eq!(calls.in_flight(), 0);
    });
}

#[test]
fn rings_too_small_for_questions_and_answers_are_refused() {
    run(EngineKind::Ring, &small(), |engine| async move {
        let mut mesh = Mesh::<Call<u64, u64>>::new(1, capacity(1));
        let result = Calls::attach(mesh.cores.remove(0), &engine, CallLimits::default(), |_, number| number);
        assert_eq!(result.err().unwrap().kind(), std::io::ErrorKind::InvalidInput);
    })
    .unwrap();
}
