//! A gateway of its own for a measurement: where its program is, which CPUs it, control and the load have, and what a
//! request costs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use crate::cli::Error;
use crate::compare::process::{Running, Scratch};
use crate::load::{self, Plan};
use crate::origin::Origin;

#[derive(Args, Clone)]
pub(crate) struct GatewayArgs {
    /// The gateway; by default the one beside this program
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// CPU of the gateway's data core
    #[arg(long, default_value_t = 0)]
    data_core: usize,
    /// CPU of load, origins and control
    #[arg(long, default_value_t = 1)]
    pub(crate) load_core: usize,
}

impl GatewayArgs {
    /// The keys of `[cores]` that put it where it belongs.
    pub(crate) fn cores(&self) -> String {
        format!("[cores]\ndata = \"{}\"\ncontrol = {}\n", self.data_core, self.load_core)
    }

    /// The same with another program.
    pub(crate) fn of(&self, program: &Path) -> Self {
        Self { ringway: Some(program.to_owned()), ..self.clone() }
    }

    /// Starts it with a config that listens at `listen`. Its config and its log are in `scratch`.
    pub(crate) fn start(&self, config: &str, listen: SocketAddr, scratch: &Scratch) -> Result<Running, Error> {
        let file = scratch.path().join("ringway.toml");
        std::fs::write(&file, config)?;
        let mut command = Command::new(program(self.ringway.as_ref())?);
        command.arg("run").arg(&file);
        let cores = [self.data_core, self.load_core];
        Ok(Running::start(&mut command, &cores, self.load_core, listen, &scratch.path().join("log"))?)
    }
}

/// The gateway that was asked for, or the one beside this program.
pub(crate) fn program(wanted: Option<&PathBuf>) -> Result<PathBuf, Error> {
    Ok(match wanted {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("ringway"),
    })
}

/// A window of a closed loop, in which as many requests go through a gateway as it can take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Connections kept busy.
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
    /// Bytes of each answer.
    pub(crate) body: u64,
}

impl Window {
    /// Microseconds of CPU that a request took of `running`, which listens at `listen`.
    pub(crate) fn cpu_us(
        self,
        running: &Running,
        listen: SocketAddr,
        origin: &mut Origin,
        stop: &AtomicBool,
    ) -> Result<f64, Error> {
        let Self { connections, warm_up, duration, body } = self;
        let plan = Plan { connections, warm_up, duration, body: Some(body), ..Plan::get(listen) };
        let mut at = Vec::new();
        let mut observe = |_, _| at.push(running.cpu_ns());
        let outcome = load::run(&plan, Some(origin), &mut observe, stop)?;
        let cpu: Vec<u64> = at.into_iter().collect::<Result<_, _>>()?;
        match (&cpu[..], outcome.failed(), outcome.completed) {
            ([before, after], 0, 1..) => Ok((after - before) as f64 / outcome.completed as f64 / 1e3),
            (_, failed, _) => Err(Error::Failed(format!("{failed} requests failed"))),
        }
    }
}
