//! `saelab completions` and `saelab man`: the command line for shells and for `man`.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{args, output};

/// Arguments of `saelab completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell; for bash: saelab completions bash > ~/.local/share/bash-completion/completions/saelab
    shell: clap_complete::Shell,
}

impl Completions {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::command(), "saelab", &mut script);
        output::result(&String::from_utf8(script).context("the script is not UTF-8")?)
    }
}

/// Arguments of `saelab man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Folder for the pages, for example ~/.local/share/man/man1
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("{}: the folder cannot be made", self.folder.display()))?;
        // A page of its own template shows the template's text; man pages have sections of their own for the commands.
        let mut command = args::command().help_template("");
        command.build();
        let pages = write(&self.folder, "saelab", &command)?;
        output::result(&format!("{pages} pages in {}", self.folder.display()))
    }
}

/// Writes the page of a command and those of its subcommands; gives their number.
fn write(folder: &Path, name: &str, command: &clap::Command) -> anyhow::Result<usize> {
    let page = clap_mangen::Man::new(command.clone()).title(name);
    let path = folder.join(format!("{name}.1"));
    artifacts::write_atomic(&path, |out| page.render(out))?;
    let mut pages = 1;
    for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
        pages += write(folder, &format!("{name}-{}", subcommand.get_name()), subcommand)?;
    }
    Ok(pages)
}
