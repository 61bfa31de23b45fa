//! Whether a ring can be set up here. Stands in for the engine's own probe.

use std::io;

/// What the ring engine finds on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// Linux 6.17.
    pub(super) receive_cap: bool,
    /// Linux 6.10.
    pub(super) bundles: bool,
}

pub(super) fn probe() -> io::Result<Probe> {
    let ring: io_uring::IoUring =
        io_uring::IoUring::builder().setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun().build(4)?;
    Ok(Probe { receive_cap: true, bundles: ring.params().is_feature_recvsend_bundle() })
}
