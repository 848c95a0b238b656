//! The real binary as a process of its own.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A child of the real binary; killed when it is dropped.
pub struct Process {
    child: Child,
    /// Where it serves.
    pub address: String,
}

/// The binary with these settings.
pub fn command(environment: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
    command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in environment {
        command.env(name, value);
    }
    command
}

/// Starts it and waits until its log says where it serves.
pub async fn start(environment: &[(&str, String)], arguments: &[&str], says: &str) -> Process {
    let mut child = command(environment).args(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = String::new();
    loop {
        let line =
            lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended before it served:\n{log}"));
        if let Some((_, address)) = line.split_once(says) {
            let address = address.split_whitespace().next().unwrap().to_owned();
            // The rest of its log must go somewhere, or it would wait for a reader.
            #[expect(clippy::disallowed_methods, reason = "ends with the child")]
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Process { child, address };
        }
        log.push_str(&line);
        log.push('\n');
    }
}

impl Process {
    /// Kilobytes of memory that it has, and had at most since the last look.
    pub fn memory(&self) -> (u64, u64) {
        let pid = self.child.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let found = (of("VmRSS:"), of("VmHWM:"));
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        found
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
