//! A gateway of its own for a measurement: where its program is, and which CPUs it, control and the load have.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::cli::Error;
use crate::compare::process::{Running, Scratch};

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
