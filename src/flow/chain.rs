//! The chain: the policies of the listener and then of the route on the way in, and the same backwards on the way out.
//!
//! Only [`Request`] and [`Response`] let a policy act, so a shadowed policy that is given one that records and does
//! nothing cannot act either.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringway_runtime::buffer::Lease;
use ringway_runtime::clock::Instant;
use ringway_runtime::engine::Engine;

use super::client::Client;
use super::edits::Edits;
use super::exchange::Exchange;
use super::reply::{self, Refusal, Reply};
use super::{After, serve};
use crate::observe::{PolicyEvent, Reason, Series, ShadowOutcome, Timeout};
use crate::plan::{PolicyId, PolicyStep};
use crate::policy::States;

/// What a policy says of a request on its way in.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'p> {
    /// It goes on.
    Continue,
    /// It is answered now.
    Reply(Reply<'p>),
    /// It is refused now: problem details with a reason.
    Refuse(Refusal),
    /// The policy has to wait before it can say.
    Wait,
}

/// A request as a policy sees it on the way in, and what it may do to it.
pub struct Request<'a> {
    /// None where nothing is sent, and chance and time have no part.
    engine: Option<&'a Engine>,
    exchange: &'a mut Exchange,
    act: Act,
}

/// The answer as a policy sees it on the way out, and what it may do to it.
pub struct Response<'a> {
    exchange: &'a Exchange,
    edits: &'a mut Edits,
    act: Act,
}

/// Whether a policy acts, and whether it did or would have done something.
struct Act {
    shadow: bool,
    changed: bool,
}

impl Act {
    fn of(step: &PolicyStep) -> Self {
        Self { shadow: step.shadow, changed: false }
    }

    /// Whether the change that is about to be made may be made.
    fn may(&mut self) -> bool {
        self.changed = true;
        !self.shadow
    }
}

impl Request<'_> {
    /// All that is known of the request: method, host, path, query, header fields, the client's address, the route where
    /// there is one, and what templates may name.
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }

    /// A random number, uniform over all of `u64`, and no secret. In [`rehearse`] always the largest.
    pub(crate) fn random(&self) -> u64 {
        self.engine.map_or(u64::MAX, Engine::random)
    }

    /// Waits. For [`crate::policy::Kind::wait`] alone.
    pub(crate) fn sleep(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        let engine = self.engine.cloned();
        async move {
            if let Some(engine) = engine {
                engine.sleep(time).await;
            }
        }
    }

    /// Edits the head on its way to the service.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Edits, &Exchange)) {
        if self.act.may() {
            let mut edits = std::mem::take(&mut self.exchange.edits);
            edit(&mut edits, self.exchange);
            self.exchange.edits = edits;
        }
    }

    /// Edits the head of the answer, whoever is to give it, before any policy meets it on the way out.
    pub(crate) fn edit_answer(&mut self, edit: impl FnOnce(&mut Edits, &Exchange)) {
        if self.act.may() {
            self.exchange.edit_answer(edit);
        }
    }

    /// Builds another target for the upstream. `path` is given the path as it is by now; it and `query` append theirs
    /// and return true, or false where that part stays. An empty new query means that there is none.
    pub(crate) fn retarget(
        &mut self,
        path: impl FnOnce(&[u8], &Exchange, &mut Vec<u8>) -> bool,
        query: impl FnOnce(&Exchange, &mut Vec<u8>) -> bool,
    ) {
        if self.act.may() {
            serve::retarget(self.exchange, path, query);
        }
    }
}

impl Response<'_> {
    /// Edits the head on its way to the client.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Edits, &Exchange)) {
        if self.act.may() {
            edit(self.edits, self.exchange);
        }
    }
}

/// Where a walk along a chain ended.
pub enum Walked<'p> {
    /// Behind its last policy.
    Through,
    /// At this policy, which says this.
    Said(PolicyId, Verdict<'p>),
    /// At the policy in this place, which must wait.
    Waits(usize),
}

/// Has a request meet the policies of `steps` from the place `from` on, as far as that goes without waiting or an answer.
pub fn walk<'p>(
    engine: &Engine,
    series: &Series,
    states: &States,
    exchange: &mut Exchange,
    steps: &'p [PolicyStep],
    from: usize,
) -> Walked<'p> {
    for (at, step) in steps.iter().enumerate().skip(from) {
        let Some(state) = states.get(step.id) else {
            return Walked::Said(step.id, Verdict::Refuse(Reason::Internal.into()));
        };
        exchange.edits.next_policy();
        exchange.answer.next_policy();
        let mut request = Request { engine: Some(engine), exchange, act: Act::of(step) };
        let verdict = step.policy.request(state, &mut request);
        let changed = request.act.changed;
        series.policy(step.id.0 as usize, PolicyEvent::Evaluation);
        if step.shadow {
            series.policy_shadow(step.id.0 as usize, outcome(&verdict, changed));
        } else {
            match verdict {
                Verdict::Continue => {}
                Verdict::Wait => return Walked::Waits(at),
                said => return Walked::Said(step.id, said),
            }
        }
        exchange.met += 1;
    }
    Walked::Through
}

/// What a policy would say of a request that nobody sends; its edits are in the exchange. Nothing is counted. None
/// where the states are of another plan.
pub fn rehearse<'p>(step: &'p PolicyStep, states: &States, exchange: &mut Exchange) -> Option<Verdict<'p>> {
    let state = states.get(step.id)?;
    exchange.edits.next_policy();
    exchange.answer.next_policy();
    Some(step.policy.request(state, &mut Request { engine: None, exchange, act: Act::of(step) }))
}

/// The edits of a policy for the answer to a request that nobody sends.
pub fn rehearse_answer(step: &PolicyStep, states: &States, exchange: &Exchange) -> Edits {
    let mut edits = Edits::default();
    if let Some(state) = states.get(step.id) {
        step.policy.response(state, &mut Response { exchange, edits: &mut edits, act: Act::of(step) });
    }
    edits
}

/// How a chain ended for a request.
pub(super) enum Ran {
    /// The request went past every policy.
    Through,
    /// A policy answered it.
    Answered(After),
    /// The policy in this place must wait.
    Waits(usize),
}

/// Walks, and answers where a policy says so.
pub(super) fn run(
    client: &mut Client,
    exchange: &mut Exchange,
    states: &States,
    steps: &[PolicyStep],
    from: usize,
) -> Ran {
    match walk(&client.state.engine, &client.running.series, states, exchange, steps, from) {
        Walked::Through => Ran::Through,
        Walked::Waits(at) => Ran::Waits(at),
        Walked::Said(id, verdict) => match act(client, exchange, id, verdict) {
            Some(after) => Ran::Answered(after),
            None => Ran::Through,
        },
    }
}

fn outcome(verdict: &Verdict<'_>, changed: bool) -> ShadowOutcome {
    match verdict {
        Verdict::Continue if changed => ShadowOutcome::Change,
        Verdict::Continue => ShadowOutcome::Pass,
        Verdict::Reply(_) => ShadowOutcome::Reply,
        Verdict::Refuse(_) => ShadowOutcome::Refuse,
        Verdict::Wait => ShadowOutcome::Wait,
    }
}

/// Does what a policy said; nothing where the request goes on.
fn act(client: &mut Client, exchange: &mut Exchange, id: PolicyId, verdict: Verdict<'_>) -> Option<After> {
    let answered = |client: &Client| client.running.series.policy(id.0 as usize, PolicyEvent::Reply);
    match verdict {
        Verdict::Continue => None,
        Verdict::Reply(answer) => {
            answered(client);
            Some(reply::reply(client, exchange, &answer))
        }
        Verdict::Refuse(refusal) => {
            answered(client);
            Some(reply::refuse(client, exchange, refusal))
        }
        // It had its time to wait.
        Verdict::Wait => Some(reply::refuse(client, exchange, Reason::Internal)),
    }
}

enum Waited<'p> {
    Verdict(Verdict<'p>),
    Late,
    Gone,
}

/// Lets the policy at `at` wait, until `deadline` at the latest and as long as the client is there, and goes on behind
/// it.
pub(super) async fn wait(
    client: &mut Client,
    exchange: &mut Exchange,
    states: &States,
    steps: &[PolicyStep],
    at: usize,
    deadline: Instant,
) -> Ran {
    let step_and_state = steps.get(at).and_then(|step| Some((step, states.get(step.id)?)));
    let Some((step, state)) = step_and_state else {
        return Ran::Answered(reply::refuse(client, exchange, Reason::Internal));
    };
    client.timer.set(deadline);
    let mut early = Vec::new();
    let waited = {
        let client = &*client;
        let mut request = Request { engine: Some(&client.state.engine), exchange, act: Act::of(step) };
        let mut waiting = pin!(step.policy.wait(state, &mut request));
        let most = client.listener().limits.stream_buffer as usize;
        poll_fn(|cx| {
            if let Poll::Ready(verdict) = waiting.as_mut().poll(cx) {
                return Poll::Ready(Waited::Verdict(verdict));
            }
            // Only a read tells that the client left; what it sends meanwhile is kept, up to a bound.
            while client.input.bytes().len() + early.len() < most {
                match client.stream.poll_read(cx) {
                    Poll::Ready(Ok(Some(lease))) => {
                        client.state.metrics.client_received(lease.len() as u64);
                        early.extend_from_slice(&lease);
                    }
                    Poll::Ready(_) => return Poll::Ready(Waited::Gone),
                    Poll::Pending => break,
                }
            }
            client.timer.poll(cx).map(|()| Waited::Late)
        })
        .await
    };
    if !early.is_empty() {
        client.input.add(Lease::copied(&early));
    }
    match waited {
        Waited::Gone => Ran::Answered(After::Gone),
        Waited::Late => {
            client.state.metrics.timed_out(Timeout::Policy);
            client.running.series.policy(step.id.0 as usize, PolicyEvent::Error);
            Ran::Answered(reply::refuse(client, exchange, Reason::PolicyTimeout))
        }
        Waited::Verdict(verdict) => {
            if let Some(after) = act(client, exchange, step.id, verdict) {
                return Ran::Answered(after);
            }
            exchange.met += 1;
            run(client, exchange, states, steps, at + 1)
        }
    }
}

/// Has the answer meet the policies that its request went past, last first. Once for each request, right before the
/// head of the answer is written.
pub(crate) fn way_out(client: &Client, exchange: &mut Exchange) {
    if exchange.met == 0 {
        return;
    }
    let running = &client.running;
    let first = &client.listener().policies;
    let then = exchange.route.and_then(|id| running.plan.route(id)).map_or(&[][..], |route| &route.policies);
    let mut edits = std::mem::take(&mut exchange.answer);
    for at in (0..usize::from(exchange.met)).rev() {
        let step = first.get(at).or_else(|| then.get(at - first.len()));
        let Some(step) = step else { continue };
        let Some(of_core) = running.policies.get(step.id) else { continue };
        edits.next_policy();
        let mut response = Response { exchange, edits: &mut edits, act: Act::of(step) };
        step.policy.response(of_core, &mut response);
        if step.shadow && response.act.changed {
            running.series.policy_shadow(step.id.0 as usize, ShadowOutcome::ChangeAnswer);
        }
    }
    exchange.answer = edits;
}
