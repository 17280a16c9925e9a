//! Meshes of brokers: midge with midge, with nats-server 2.15 and with 2.9.
//! Every mesh is made of real processes on free ports of this machine.
//!
//! `MIDGE_FAULT_SECONDS` makes the random faults go on for longer,
//! `MIDGE_FAULT_SEED` repeats those of a run that failed: it tells its seed.

mod support;

#[path = "cluster/borders.rs"]
mod borders;
#[path = "cluster/bounds.rs"]
mod bounds;
#[path = "cluster/delivery.rs"]
mod delivery;
#[path = "cluster/duel.rs"]
mod duel;
#[path = "cluster/farewell.rs"]
mod farewell;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/formation.rs"]
mod formation;
#[path = "cluster/headcount.rs"]
mod headcount;
#[path = "cluster/legacy.rs"]
mod legacy;
#[path = "cluster/lying.rs"]
mod lying;
#[path = "cluster/mesh.rs"]
mod mesh;
#[path = "cluster/names.rs"]
mod names;
#[path = "cluster/queues.rs"]
mod queues;
#[path = "cluster/route_port.rs"]
mod route_port;
#[path = "cluster/services.rs"]
mod services;
#[path = "cluster/settings.rs"]
mod settings;
#[allow(dead_code)]
#[path = "accounts/stage.rs"]
mod stage;
#[path = "cluster/streams.rs"]
mod streams;
#[path = "cluster/tls.rs"]
mod tls;
#[path = "cluster/troupe.rs"]
mod troupe;
