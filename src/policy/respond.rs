//! `type = "respond"`: one fixed response, before the service is asked.

use std::sync::Arc;

use super::Kind;
use crate::config::RespondPolicySection;
use crate::flow::{Reply, Request, Verdict};
use crate::plan::{self, Templates};

/// Answers every request that comes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond(Arc<plan::Respond>);

impl Kind for Respond {
    type Section = RespondPolicySection;
    type State = ();

    fn compile(section: &RespondPolicySection, _templates: &Templates<'_>) -> Option<Self> {
        Some(Self(section.0.clone()))
    }

    fn core_state(&self) {}

    fn request(&self, (): &(), _request: &mut Request<'_>) -> Verdict<'_> {
        Verdict::Reply(Reply::from(&*self.0))
    }
}
