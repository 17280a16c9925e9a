//! The results of one scenario on one broker in one round.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    broker::Memory,
    failure::{During, Failure, Result},
    sys::CpuClock,
};

/// A kind of value. The order is that of the columns in the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// Units (messages, deliveries, …) per second.
    Rate,
    /// CPU time of the broker per unit, µs.
    BrokerCpuUs,
    /// CPU time of the load generator per unit, µs.
    LoadCpuUs,
    /// CPU time of the broker per handshake and login, µs.
    HandshakeCpuUs,
    /// How often clients gave up, and came again.
    GaveUp,
    /// Resident memory of the broker at the end, MiB.
    MemoryMib,
    /// Maximum resident memory of the broker, MiB.
    PeakMemoryMib,
    /// Median latency, µs.
    P50Us,
    /// 99th percentile of the latency, µs.
    P99Us,
    /// 99th percentile of the latency with a disturbance, as a multiple of that without.
    P99Factor,
    /// A duration, ms.
    TimeMs,
    /// Resumed TLS sessions, per cent.
    ResumedPercent,
    /// Resident memory per idle connection, KiB.
    ConnectionKib,
    /// Rate with one stalled subscriber, as a fraction of that with none.
    KeptWithOneStalled,
    /// Rate with two stalled subscribers, as a fraction of that with none.
    KeptWithTwoStalled,
    /// Throughput lost, per cent.
    LossPercent,
    /// CPU time per unit with a disturbance, as a multiple of that without.
    CpuFactor,
}

/// The values of one measurement.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Sample(BTreeMap<Metric, f64>);

/// CPU time used during a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) broker: Duration,
    pub(crate) load: Duration,
}

impl Metric {
    /// The title of the column, with its unit.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Rate => "rate /s",
            Self::BrokerCpuUs => "CPU µs",
            Self::LoadCpuUs => "load µs",
            Self::HandshakeCpuUs => "shake µs",
            Self::GaveUp => "gave up",
            Self::MemoryMib => "RSS MiB",
            Self::PeakMemoryMib => "peak MiB",
            Self::P50Us => "p50 µs",
            Self::P99Us => "p99 µs",
            Self::P99Factor => "p99 ×",
            Self::TimeMs => "time ms",
            Self::ResumedPercent => "resumed %",
            Self::ConnectionKib => "KiB/conn",
            Self::KeptWithOneStalled => "kept, 1",
            Self::KeptWithTwoStalled => "kept, 2",
            Self::LossPercent => "loss %",
            Self::CpuFactor => "CPU ×",
        }
    }

    /// Whether a ratio of two brokers is meaningful: not for values that are ratios themselves or
    /// describe the load generator.
    pub(crate) fn has_ratio(self) -> bool {
        !matches!(
            self,
            Self::LoadCpuUs
                | Self::GaveUp
                | Self::KeptWithOneStalled
                | Self::KeptWithTwoStalled
                | Self::LossPercent
                | Self::P99Factor
                | Self::ResumedPercent
                | Self::CpuFactor
        )
    }
}

impl Sample {
    /// Rate and CPU time per unit.
    pub(crate) fn of_units(units: u64, seconds: f64, usage: Usage) -> Self {
        let per_unit_us = |time: Duration| time.as_secs_f64() * 1e6 / units.max(1) as f64;
        Self::default()
            .with(Metric::Rate, units as f64 / seconds)
            .with(Metric::BrokerCpuUs, per_unit_us(usage.broker))
            .with(Metric::LoadCpuUs, per_unit_us(usage.load))
    }

    /// Adds a value.
    pub(crate) fn with(mut self, metric: Metric, value: f64) -> Self {
        self.0.insert(metric, value);
        self
    }

    /// Adds the broker's memory.
    pub(crate) fn with_memory(self, memory: Memory) -> Self {
        const MIB: f64 = 1024.0 * 1024.0;
        self.with(Metric::MemoryMib, memory.current as f64 / MIB)
            .with(Metric::PeakMemoryMib, memory.peak as f64 / MIB)
    }

    /// Adds median and 99th percentile of these latencies.
    pub(crate) fn with_latencies(self, mut latencies_ns: Vec<u64>) -> Self {
        latencies_ns.sort_unstable();
        self.with(Metric::P50Us, percentile_us(&latencies_ns, 0.5))
            .with(Metric::P99Us, percentile_us(&latencies_ns, 0.99))
    }

    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.0.get(&metric).copied()
    }

    /// The metrics that were measured.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = Metric> {
        self.0.keys().copied()
    }
}

/// The percentile `part` of sorted latencies, µs.
pub(crate) fn percentile_us(sorted_ns: &[u64], part: f64) -> f64 {
    let last = sorted_ns.len().saturating_sub(1);
    let index = (last as f64 * part).round() as usize;
    sorted_ns.get(index).map_or(f64::NAN, |ns| *ns as f64 / 1e3)
}

/// Runs `work` and returns the CPU time that the brokers and this process used.
pub(crate) fn measure<T>(
    brokers: &[CpuClock],
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Usage)> {
    let read = |clock: CpuClock| clock.now().during("cannot read a CPU clock");
    let read_all = || -> Result<Duration> { brokers.iter().map(|clock| read(*clock)).sum() };
    let load = CpuClock::of_self();
    let before = (read_all()?, read(load)?);
    let result = work()?;
    let after =
        read_all().map_err(|Failure(text)| Failure(format!("{text}; did the broker end?")))?;
    let usage = Usage {
        broker: after.saturating_sub(before.0),
        load: read(load)?.saturating_sub(before.1),
    };
    Ok((result, usage))
}
