//! `check_nats` with the shipped configuration in what runs it at an operator's: a real
//! Nagios 4, a real Icinga 2 and a real NRPE, each as an ordinary process with a folder of
//! its own. Intervals are seconds where the shipped files mean minutes.

mod broker;
mod daemon;
mod icinga;
mod nagios;
mod nrpe;
mod shipped;
