//! The script that submits job arrays to Slurm, each when the one before has succeeded.
//!
//! A task is one `--shard` of its stage. It goes back into the queue, five times at most, when its process is killed (memory, a node that
//! goes away) and a minute and a half before its time is up; what it has finished stays, and a training goes on from its last checkpoint.
//! One that ends with an error is not tried again.

use std::fmt::Write as _;
use std::path::PathBuf;

/// The share of a task in its command.
pub(super) const SHARE: &str = "\"$SLURM_ARRAY_TASK_ID\"/";

/// A job array.
#[derive(Debug)]
pub(super) struct Array {
    pub(super) name: &'static str,
    pub(super) tasks: usize,
    /// Limit of a task.
    pub(super) minutes: usize,
    /// Memory of a task.
    pub(super) memory_mb: usize,
    pub(super) cores: usize,
    /// A line of shell before the command.
    pub(super) before: Option<String>,
    /// The command of a task, as [`command`] makes it.
    pub(super) command: String,
}

/// A script for bash.
#[derive(Debug)]
pub(super) struct Script {
    /// Where the jobs run.
    pub(super) folder: PathBuf,
    pub(super) logs: PathBuf,
    /// Options of sbatch.
    pub(super) options: Vec<String>,
    pub(super) arrays: Vec<Array>,
}

impl Script {
    pub(super) fn render(&self) -> String {
        let logs = self.logs.to_string_lossy();
        let mut out = format!(
            "#!/bin/bash\n\
             # Job arrays for Slurm, written by `saelab submit`; `bash` this file to submit them. `saelab status` tells how far they are.\n\
             set -euo pipefail\n\
             cd {}\n\
             mkdir -p {}\n",
            quoted(&self.folder.to_string_lossy()),
            quoted(&logs)
        );
        let mut before: Option<&str> = None;
        for array in &self.arrays {
            let depends = before.map_or_else(String::new, |name| {
                format!(" --dependency=afterok:\"${name}\" --kill-on-invalid-dep=yes")
            });
            let name = array.name;
            let _ = write!(
                out,
                "\n{name}=$(sbatch --parsable{depends} <<'JOB'\n{}JOB\n)\necho \"{name}: job ${name}, {} tasks\"\n",
                self.job(array, &logs),
                array.tasks
            );
            before = Some(name);
        }
        out
    }

    /// The script of one task.
    fn job(&self, array: &Array, logs: &str) -> String {
        let Array {
            name,
            tasks,
            minutes,
            memory_mb,
            cores,
            ..
        } = array;
        let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
        let mut out = format!(
            "#!/bin/bash\n\
             #SBATCH --job-name=saelab-{name}\n\
             #SBATCH --array=1-{tasks}\n\
             #SBATCH --time={days}-{hours:02}:{minutes:02}:00\n\
             #SBATCH --mem={memory_mb}M\n\
             #SBATCH --cpus-per-task={cores}\n\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --signal=B:USR1@90\n\
             #SBATCH --output=\"{logs}/{name}-%A_%a.log\"\n"
        );
        for option in &self.options {
            let _ = writeln!(out, "#SBATCH {option}");
        }
        out.push_str(
            "again() {\n    \
                 if [ \"${SLURM_RESTART_COUNT:-0}\" -lt 5 ]; then scontrol requeue \"$SLURM_JOB_ID\"; fi\n\
             }\n\
             export RAYON_NUM_THREADS=\"$SLURM_CPUS_PER_TASK\"\n",
        );
        if let Some(line) = &array.before {
            let _ = writeln!(out, "{line}");
        }
        let _ = write!(
            out,
            "{} &\n\
             task=$!\n\
             trap 'kill \"$task\"; wait \"$task\"; again; exit 1' USR1\n\
             status=0\n\
             wait \"$task\" || status=$?\n\
             if [ \"$status\" -gt 128 ]; then again; fi\n\
             exit \"$status\"\n",
            array.command
        );
        out
    }
}

/// A command whose last option is the share of its task.
pub(super) fn command(words: &[String], tasks: usize) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("{} --shard {SHARE}{tasks}", words.join(" "))
}

/// A word as the shell reads it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_example_is_what_is_rendered() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let harvest = words("saelab harvest deploy/slurm/harvest.toml --out runs/cluster/activations");
        let train = words("saelab train deploy/slurm/train.toml --run runs/cluster");
        let array = |name, tasks, words: &[String]| Array {
            name,
            tasks,
            minutes: 90,
            memory_mb: 2000,
            cores: 4,
            before: None,
            command: command(words, tasks),
        };
        let script = Script {
            folder: "/shared/saelab".into(),
            logs: "runs/cluster/logs".into(),
            options: vec!["--partition=cpu".to_owned()],
            arrays: vec![
                array("harvest", 8, &harvest),
                Array {
                    before: Some(format!(
                        "[ -e runs/cluster/activations/manifest.json ] || {}",
                        command(&harvest, 8).replace(&format!("{SHARE}8"), "1/8")
                    )),
                    ..array("train", 6, &train)
                },
            ],
        };
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/slurm/harvest-and-train.sh");
        if std::env::var_os("UPDATE_EXAMPLES").is_some() {
            std::fs::write(path, script.render()).unwrap();
        }
        assert_eq!(script.render(), std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn the_shell_reads_words_as_they_are() {
        for word in [
            "a",
            "",
            "it's",
            "$HOME `x` \"y\"",
            "a b\nc",
            "ä*?",
            r"\",
            "--set=[\"x\"]",
        ] {
            let script = format!("printf %s {}", quoted(word));
            let printed = Command::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), word);
        }
        assert_eq!(quoted("configs/a-b_1.toml"), "configs/a-b_1.toml");
    }
}
