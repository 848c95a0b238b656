//! What a commit costs before anybody has written a line of code.

use crate::Bench;
use crate::load::percentile_ms;
use crate::machine;
use crate::report::Section;

/// One commit after another.
pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<Section> {
    let mut section = Section::new("disk", "4 kB write and fdatasync, one after another");
    section.setting("seconds", bench.lengths.disk.as_secs_f64());
    let directory = bench.place.directory()?;
    let (path, length) = (directory.path().to_owned(), bench.lengths.disk);
    let times = tokio::task::spawn_blocking(move || machine::commits(&path, length)).await??;
    let total: f64 = times.iter().map(|micros| f64::from(*micros) / 1e6).sum();
    section.figure("p50", "p50", percentile_ms(&times, 50.0) * 1000.0, "µs");
    section.figure("p99", "p99", percentile_ms(&times, 99.0) * 1000.0, "µs");
    section.figure("perSecond", "commits", times.len() as f64 / total, "/s");
    Ok(section)
}
