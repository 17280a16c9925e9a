//! A fleet as Puppet and MCollective make it: real `mcollectived` and `mco` (Debian's packages)
//! over mutual TLS, on one broker, on a mesh whose members fail, and with the permissions of
//! docs/fleet.md. Every answer is counted.
//!
//! Their connector is in `fleet/plugins`: MCollective brings none for NATS.

mod ca;
mod commands;
mod examples;
mod mesh;
mod nodes;
mod one_broker;
mod permissions;
