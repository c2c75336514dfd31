//! What this process has used so far.

/// The most memory that this process has held, in MB, where the system tells.
pub fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb / 1024)
}

/// Seconds of processor time that all threads of this process have had, where the system tells.
pub fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything but ends with the last bracket: user and system time are numbers 12 and 13.
    let (_, fields) = text.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11);
    let (user, system) = (ticks.next()?.parse::<f64>().ok()?, ticks.next()?.parse::<f64>().ok()?);
    Some((user + system) / 100.0)
}
