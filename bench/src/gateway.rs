//! A gateway of its own for a measurement: where its program is, which CPUs it, control and the load have, and what a
//! request costs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;

use crate::cli::Error;
use crate::compare::process::{self, Running, Scratch};
use crate::compare::traffic::Traffic;
use crate::load::{self, Plan};
use crate::net;
use crate::origin::{Options as OriginOptions, Origin};

#[derive(Args, Clone)]
pub(crate) struct GatewayArgs {
    /// The gateway; by default the one beside this program
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// CPU of the gateway's data core
    #[arg(long, default_value_t = 0)]
    pub(crate) data_core: usize,
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

/// A gateway that is there for windows of a closed loop. Dropping it ends it.
pub(crate) struct Gateway {
    running: Running,
    listen: SocketAddr,
    _scratch: Scratch,
}

impl Gateway {
    /// Starts one that listens for `traffic` at a free address and proxies all paths to the upstream `origin`. `upstream` is
    /// what the config says of that; `name` is of its directory.
    pub(crate) fn start(args: &GatewayArgs, name: &str, traffic: &Traffic, upstream: &str) -> Result<Self, Error> {
        let (listen, scratch) = (process::free_address()?, Scratch::named(name)?);
        traffic.prepare(scratch.path())?;
        let tls = traffic.ringway_tls(scratch.path());
        let protocol = traffic.ringway_protocol();
        let text = format!(
            "{}metrics_dir = \"{}\"\n[limits]\nhandshakes_per_source = \"off\"\n[listener.web]\naddress = \"{listen}\"\n{tls}\
             [upstream.origin]\n{upstream}\n{protocol}pool = {{ max_idle = 4096 }}\n\
             [[route]]\nname = \"all\"\npath = \"/{{rest...}}\"\nupstream = \"origin\"\n",
            args.cores(),
            scratch.path().join("metrics").display()
        );
        let running = args.start(&text, listen, &scratch)?;
        Ok(Self { running, listen, _scratch: scratch })
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
    /// What clients speak, over how many connections.
    pub(crate) traffic: Traffic,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// Bytes of each answer in a [`Window`].
const BODY: u64 = 128;

impl Window {
    /// Prepares this process for `rounds` of these windows: on its own core, with an origin at `listen`.
    pub(crate) fn prepare(self, rounds: u32, args: &GatewayArgs, listen: SocketAddr) -> Result<Origin, Error> {
        if rounds == 0 || self.traffic.connections() == 0 || self.traffic.streams() == 0 {
            return Err(Error::Input("--rounds, --connections and --streams must be above 0".to_owned()));
        }
        net::raise_descriptor_limit();
        net::pin(args.load_core)?;
        Ok(Origin::new(&OriginOptions { listen, ..OriginOptions::plain(BODY) })?)
    }

    /// Microseconds of CPU that a request took of the gateway.
    pub(crate) fn cpu_us(self, gateway: &Gateway, origin: &mut Origin, stop: &AtomicBool) -> Result<f64, Error> {
        let Self { traffic, warm_up, duration } = self;
        let Gateway { running, listen, .. } = gateway;
        let plan = traffic.plan(*listen, BODY).map_err(Error::Input)?;
        let plan = Plan { connections: traffic.connections(), warm_up, duration, ..plan };
        let mut at = Vec::new();
        let mut observe = |_, _| at.push(running.cpu_ns());
        let outcome = load::run(&plan, Some(origin), &mut observe, stop)?;
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Failed("interrupted".to_owned()));
        }
        let cpu: Vec<u64> = at.into_iter().collect::<Result<_, _>>()?;
        match (&cpu[..], outcome.failed(), outcome.completed) {
            ([before, after], 0, 1..) => Ok((after - before) as f64 / outcome.completed as f64 / 1e3),
            (_, failed, _) => Err(Error::Failed(format!("{failed} requests failed"))),
        }
    }
}
