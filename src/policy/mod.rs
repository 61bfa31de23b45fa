//! Cross-cutting steps on the way in and out, one module per policy.
//!
//! A policy is a module here that implements [`Kind`], a section of the config in `src/config/policy`, and one line in
//! the registry below. `docs/policies.md` says how to write one.

mod fault;
mod headers;
mod redirect;
mod respond;
mod rewrite;

use crate::config::{Fields, KeyTable, PolicyKeys};
use crate::flow::{Request, Response, Verdict};
use crate::plan::{Plan, PolicyId, Templates};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// What a policy is to the rest of the gateway. A policy lives in the plan, so all cores share it and nobody changes it;
/// what changes is in its state, of which each core has its own.
pub(crate) trait Kind: Sized {
    /// What the config says of it.
    type Section: PolicyKeys;
    /// What each core keeps for it. One that has a name has one state on a core, whoever uses it.
    type State;

    /// The policy in its place: where `templates` know which captures there are. Nothing where a template is wrong, which
    /// was complained about.
    fn compile(section: &Self::Section, templates: &Templates<'_>) -> Option<Self>;

    /// The state of a core that has served nothing yet.
    fn core_state(&self) -> Self::State;

    /// The way in. [`Verdict::Wait`] has [`Kind::wait`] called.
    fn request(&self, state: &Self::State, request: &mut Request<'_>) -> Verdict<'_>;

    /// Waits, and then says what `request` could not say at once. It is dropped when the client leaves or the time of the
    /// request is over.
    async fn wait(&self, _state: &Self::State, _request: &mut Request<'_>) -> Verdict<'_> {
        Verdict::Continue
    }

    /// The way out, for the answer to a request that went past this policy on its way in.
    fn response(&self, _state: &Self::State, _response: &mut Response<'_>) {}
}

/// Makes the list of policies into what the config, the plan and the chain need of all of them.
macro_rules! registry {
    ( $( $Policy:ident in $module:ident; )* ) => {
        /// A policy, compiled for its place.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Policy {
            $( #[doc = concat!("See `src/policy/", stringify!($module), ".rs`.")] $Policy($module::$Policy), )*
        }

        /// The section of a policy in the config.
        #[derive(Clone, Debug)]
        pub(crate) enum Section {
            $( $Policy(<$module::$Policy as Kind>::Section), )*
        }

        /// What a core keeps for one policy.
        pub(crate) enum State {
            $( $Policy(<$module::$Policy as Kind>::State), )*
        }

        /// The types of policies.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Type {
            $( $Policy, )*
        }

        impl Type {
            /// Every type and what the config calls it.
            pub(crate) const WORDS: &'static [(&'static str, Type)] =
                &[$( (<<$module::$Policy as Kind>::Section as PolicyKeys>::TYPE, Type::$Policy), )*];

            /// What the config calls each type.
            pub(crate) const NAMES: &'static [&'static str] =
                &[$( <<$module::$Policy as Kind>::Section as PolicyKeys>::TYPE, )*];

            /// The keys of each type.
            pub(crate) const SECTIONS: &'static [(&'static str, &'static KeyTable)] = &[$( (
                <<$module::$Policy as Kind>::Section as PolicyKeys>::TYPE,
                <<$module::$Policy as Kind>::Section as PolicyKeys>::KEYS,
            ), )*];

            /// The keys of its section.
            pub(crate) fn keys(self) -> &'static KeyTable {
                match self { $( Self::$Policy => <<$module::$Policy as Kind>::Section as PolicyKeys>::KEYS, )* }
            }

            /// Reads its section.
            pub(crate) fn read(self, fields: &Fields<'_>) -> Section {
                match self {
                    $( Self::$Policy => {
                        Section::$Policy(<<$module::$Policy as Kind>::Section as PolicyKeys>::read(fields))
                    } )*
                }
            }
        }

        impl Section {
            /// See [`Kind::compile`].
            pub(crate) fn compile(&self, templates: &Templates<'_>) -> Option<Policy> {
                match self {
                    $( Self::$Policy(section) => {
                        <$module::$Policy as Kind>::compile(section, templates).map(Policy::$Policy)
                    } )*
                }
            }
        }

        impl Policy {
            fn kind(&self) -> Type {
                match self { $( Self::$Policy(_) => Type::$Policy, )* }
            }

            /// See [`Kind::core_state`].
            pub(crate) fn core_state(&self) -> State {
                match self { $( Self::$Policy(policy) => State::$Policy(policy.core_state()), )* }
            }

            /// See [`Kind::request`].
            pub(crate) fn request(&self, state: &State, request: &mut Request<'_>) -> Verdict<'_> {
                match (self, state) {
                    $( (Self::$Policy(policy), State::$Policy(state)) => policy.request(state, request), )*
                    // The state was made by the policy of its index, so this is never so; but a policy that is passed
                    // by in silence could be the one that guards something.
                    _ => Verdict::Refuse(crate::observe::Reason::Internal.into()),
                }
            }

            /// See [`Kind::wait`].
            pub(crate) async fn wait(&self, state: &State, request: &mut Request<'_>) -> Verdict<'_> {
                match (self, state) {
                    $( (Self::$Policy(policy), State::$Policy(state)) => policy.wait(state, request).await, )*
                    _ => Verdict::Refuse(crate::observe::Reason::Internal.into()),
                }
            }

            /// See [`Kind::response`].
            pub(crate) fn response(&self, state: &State, response: &mut Response<'_>) {
                match (self, state) {
                    $( (Self::$Policy(policy), State::$Policy(state)) => policy.response(state, response), )*
                    _ => {}
                }
            }
        }
    };
}

// The registry: one line a policy.
registry! {
    Fault in fault;
    Headers in headers;
    Redirect in redirect;
    Respond in respond;
    Rewrite in rewrite;
}

impl Policy {
    /// What the config calls its type.
    pub fn type_name(&self) -> &'static str {
        let kind = self.kind();
        Type::WORDS.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word)
    }
}

/// Where the state of each policy of a plan comes from. Control finds that out with the plan, as it takes a look at every
/// route: a core that did so would hold up its requests.
#[derive(Debug)]
pub struct Origins(Box<[Origin]>);

#[derive(Debug)]
struct Origin {
    /// The policy of the plan before that is no different: it goes on with the state it has there.
    kept: Option<PolicyId>,
    place: Place,
}

/// A place of a policy in a plan.
#[derive(Clone, Copy, Debug)]
enum Place {
    Listener(usize, usize),
    Route(usize, usize),
}

impl Place {
    fn policy(self, plan: &Plan) -> Option<&Policy> {
        let (policies, step) = match self {
            Self::Listener(at, step) => (&plan.listeners.get(at)?.policies, step),
            Self::Route(at, step) => (&plan.routes.get(at)?.policies, step),
        };
        policies.get(step).map(|step| &step.policy)
    }
}

impl Origins {
    /// For a plan that comes after `before`.
    pub fn new(plan: &Plan, before: Option<&Plan>) -> Self {
        let known: HashMap<&str, (PolicyId, &Policy)> = before.map_or_else(HashMap::new, |before| {
            let policies = first_places(before).into_iter().filter_map(|(id, place)| {
                let name = before.policies.get(id.0 as usize)?;
                Some((&**name, (id, place.policy(before)?)))
            });
            policies.collect()
        });
        let origin = |(id, place): (PolicyId, Place)| {
            let before = plan.policies.get(id.0 as usize).and_then(|name| known.get(&**name));
            let kept = before.filter(|(_, before)| place.policy(plan) == Some(before)).map(|(id, _)| *id);
            Origin { kept, place }
        };
        Self(first_places(plan).into_iter().map(origin).collect())
    }
}

/// What one core keeps for the policies of a plan.
pub struct States(Box<[Rc<State>]>);

impl States {
    /// The states for a plan, with those of the plan before where they go on.
    pub fn new(plan: &Plan, origins: &Origins, before: Option<&Self>) -> Self {
        let state = |origin: &Origin| {
            let kept = origin.kept.zip(before).and_then(|(id, before)| before.0.get(id.0 as usize).cloned());
            kept.or_else(|| origin.place.policy(plan).map(|policy| Rc::new(policy.core_state())))
        };
        Self(origins.0.iter().filter_map(state).collect())
    }

    /// The state of one policy.
    pub(crate) fn get(&self, id: PolicyId) -> Option<&State> {
        self.0.get(id.0 as usize).map(|state| &**state)
    }
}

/// Each policy by id, with its first place: what it keeps does not depend on where it is used.
fn first_places(plan: &Plan) -> BTreeMap<PolicyId, Place> {
    let of_listeners = plan.listeners.iter().enumerate().flat_map(|(at, listener)| {
        listener.policies.iter().enumerate().map(move |(nth, step)| (step.id, Place::Listener(at, nth)))
    });
    let of_routes = plan.routes.iter().enumerate().flat_map(|(at, route)| {
        route.policies.iter().enumerate().map(move |(nth, step)| (step.id, Place::Route(at, nth)))
    });
    let mut first = BTreeMap::new();
    for (id, place) in of_listeners.chain(of_routes) {
        first.entry(id).or_insert(place);
    }
    first
}

/// What the config calls each type of policy.
pub fn types() -> impl Iterator<Item = &'static str> {
    Type::NAMES.iter().copied()
}
