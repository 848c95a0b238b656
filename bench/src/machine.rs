//! What the machine says of itself and of a process (Linux: `/proc`).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// `/proc` counts CPU time in these on every Linux that Rust knows.
const TICKS_PER_SECOND: f64 = 100.0;

/// Cores that may be used.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Its name.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Memory of the machine.
pub(crate) fn memory_gb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    field_kb(&text, "MemTotal:").map_or(0, |kb| (kb + (1 << 19)) >> 20)
}

/// How busy the machine was in the last minute, before anything was measured.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

fn field_kb(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// A process, by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// CPU time used so far, user and system, of all threads.
    pub(crate) fn cpu_seconds(self) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).context("the process is gone")?;
        // The name is in brackets and may hold anything; utime and stime are the 14th and 15th field.
        let (_, rest) = text.rsplit_once(')').context("/proc/PID/stat looks otherwise")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<f64>().ok();
        let ticks = next().zip(next()).context("/proc/PID/stat looks otherwise")?;
        Ok((ticks.0 + ticks.1) / TICKS_PER_SECOND)
    }

    /// Memory in use.
    pub(crate) fn memory_mb(self) -> anyhow::Result<f64> {
        self.status_mb("VmRSS:")
    }

    /// The most memory that was in use since [`Process::forget_peak`].
    pub(crate) fn peak_mb(self) -> anyhow::Result<f64> {
        self.status_mb("VmHWM:")
    }

    /// Lets the peak begin anew.
    pub(crate) fn forget_peak(self) -> anyhow::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").context("cannot reset the peak of memory")
    }

    fn status_mb(self, name: &str) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0)).context("the process is gone")?;
        let kb = field_kb(&text, name).context("/proc/PID/status looks otherwise")?;
        Ok(kb as f64 / 1024.0)
    }
}

/// CPU time that went to anybody but this program and the processes that it started and ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elsewhere {
    at: Instant,
    machine: f64,
    own: f64,
}

impl Elsewhere {
    /// Begins to count.
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let times: Vec<f64> = fields.filter_map(|field| field.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let machine: f64 =
            times.iter().take(8).enumerate().filter(|(n, _)| *n != 3 && *n != 4).map(|(_, t)| t).sum();
        let text = fs::read_to_string("/proc/self/stat")?;
        let (_, rest) = text.rsplit_once(')').context("/proc/self/stat looks otherwise")?;
        let own: f64 =
            rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(Self { at: Instant::now(), machine, own })
    }

    /// How much of all cores it was since then, in percent.
    pub(crate) fn percent(self) -> anyhow::Result<f64> {
        let now = Self::begin()?;
        let used = ((now.machine - self.machine) - (now.own - self.own)) / TICKS_PER_SECOND;
        let all = (now.at - self.at).as_secs_f64() * cores() as f64;
        Ok((used / all * 100.0).max(0.0))
    }
}

/// One 4 kB write and fdatasync after another to the same place of a file, as a write-ahead log at rest does: all times,
/// in microseconds, in order of size.
pub(crate) fn commits(dir: &Path, length: Duration) -> anyhow::Result<Vec<u32>> {
    let file = File::create(dir.join("fsync"))?;
    let block = [7_u8; 4096];
    let blocks = 1024;
    for place in 0..blocks {
        file.write_all_at(&block, place * 4096)?;
    }
    file.sync_all()?;
    let begun = Instant::now();
    let mut times = Vec::new();
    for place in (0..blocks).cycle() {
        if begun.elapsed() >= length {
            break;
        }
        let one = Instant::now();
        file.write_all_at(&block, place * 4096)?;
        file.sync_data()?;
        times.push(u32::try_from(one.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    times.sort_unstable();
    Ok(times)
}
