//! What Ringway must survive: each attack of `docs/threat-model.md` as a test.

mod churn;
mod confusion;
mod desync;
mod floods;
mod hostile_upstreams;
mod smuggling;
