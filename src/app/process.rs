//! Resources of the exporter's own process, under the names that every Prometheus client uses.
//!
//! Read here, not by the `prometheus` crate: its `process_cpu_seconds_total` counts whole seconds,
//! so that a rate over minutes of a frugal process is 0.

use procfs::process::Process;
use procfs::{CurrentSI, KernelStats, page_size, ticks_per_second};

use crate::metrics::{Kind, Reading};

/// Resources of this process; `None` where the kernel does not give the value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessUsage {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_fds: Option<usize>,
    max_fds: Option<f64>,
    threads: Option<i64>,
    started: Option<f64>,
}

impl ProcessUsage {
    /// Reads the present values. `boot` is the result of [`boot_time`].
    pub(super) fn now(boot: Option<u64>) -> Self {
        let Ok(process) = Process::myself() else { return Self::default() };
        let stat = process.stat().ok();
        let stat = stat.as_ref();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
        Self {
            cpu_seconds: stat.map(|s| seconds(s.utime + s.stime)),
            resident_bytes: stat.map(|s| s.rss * page_size()),
            virtual_bytes: stat.map(|s| s.vsize),
            open_fds: process.fd_count().ok(),
            max_fds: max_fds(&process),
            threads: stat.map(|s| s.num_threads),
            started: stat.zip(boot).map(|(s, boot)| boot as f64 + seconds(s.starttime)),
        }
    }
}

/// Returns the start of the machine in seconds since 1970.
pub(super) fn boot_time() -> Option<u64> {
    KernelStats::current().ok().map(|stats| stats.btime)
}

fn max_fds(process: &Process) -> Option<f64> {
    match process.limits().ok()?.max_open_files.soft_limit {
        procfs::process::LimitValue::Value(limit) => Some(limit as f64),
        procfs::process::LimitValue::Unlimited => Some(f64::INFINITY),
    }
}

/// The families of [`ProcessUsage`]; read at each scrape.
pub(super) const READINGS: &[Reading<ProcessUsage>] = &[
    Reading {
        name: "process_cpu_seconds_total",
        help: "Processor time that the exporter used, in user and in system mode, in seconds.",
        kind: Kind::Counter,
        labels: &[],
        read: |usage, out| out.push([], usage.cpu_seconds),
    },
    Reading {
        name: "process_resident_memory_bytes",
        help: "Memory of the exporter that is in RAM, in bytes.",
        kind: Kind::Gauge,
        labels: &[],
        read: |usage, out| out.push([], usage.resident_bytes),
    },
    Reading {
        name: "process_virtual_memory_bytes",
        help: "Address space of the exporter, in bytes.",
        kind: Kind::Gauge,
        labels: &[],
        read: |usage, out| out.push([], usage.virtual_bytes),
    },
    Reading {
        name: "process_open_fds",
        help: "Open file descriptors of the exporter.",
        kind: Kind::Gauge,
        labels: &[],
        read: |usage, out| out.push([], usage.open_fds),
    },
    Reading {
        name: "process_max_fds",
        help: "File descriptors that the exporter may open.",
        kind: Kind::Gauge,
        labels: &[],
        read: |usage, out| out.push([], usage.max_fds),
    },
    Reading {
        name: "process_threads",
        help: "Threads of the exporter.",
        kind: Kind::Gauge,
        labels: &[],
        read: |usage, out| out.push([], usage.threads),
    },
    Reading {
        name: "process_start_time_seconds",
        help: "When the exporter started, in seconds since 1970.",
        kind: Kind::Gauge,
        labels: &[],
        read: |usage, out| out.push([], usage.started),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_gives_the_resources_of_this_process() {
        let usage = ProcessUsage::now(boot_time());
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{usage:?}");
        assert!(usage.open_fds.is_some_and(|fds| fds > 2), "{usage:?}");
        assert!(usage.started.is_some_and(|at| at > 1.7e9), "{usage:?}");
        assert!(usage.cpu_seconds.is_some() && usage.max_fds.is_some(), "{usage:?}");
    }
}
