//! The command line.

use std::fmt::Write as _;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::locations;
use crate::subcommands;

/// The headings of `--help` and the commands below each: what is used every day comes first.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Commands",
        &[
            "model", "locate", "harvest", "fit", "train", "submit", "status", "eval", "compare", "report", "serve",
            "quality", "splice", "truth", "probe", "masks", "explain", "circuit",
        ],
    ),
    ("Files", &["inspect", "encode", "convert", "store", "trace"]),
    ("This program", &["config", "devices", "completions", "man"]),
    (
        "Laboratory",
        &[
            "pretrain",
            "behaviours",
            "phenomena",
            "synthetic",
            "find",
            "verify-model",
            "bench",
        ],
    ),
];

/// Trains sparse autoencoders on language-model activations and compares them with supervised dictionaries.
#[derive(Debug, Parser)]
#[command(name = "saelab", version, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Device for tensors: cpu, wgpu or cuda, also by number (cuda:0)
    #[arg(long, global = true, default_value = "cpu")]
    pub(crate) device: String,
    /// Draw no progress bars
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Parses the command line; ends the program for a wrong one, or where help was asked for.
    pub(crate) fn parse_grouped() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The command line as clap has it, with the subcommands under their headings.
pub(crate) fn command() -> clap::Command {
    let command = locations::anywhere(Args::command());
    let mut template = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    // A command that no group lists is shown all the same.
    let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let all = command.get_subcommands().map(clap::Command::get_name);
    let others: Vec<&str> = all.filter(|name| !listed.contains(name)).collect();
    let groups = GROUPS.iter().copied().chain([("Others", others.as_slice())]);
    for (heading, names) in groups.filter(|(_, names)| !names.is_empty()) {
        let _ = write!(template, "\n{heading}:\n");
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let _ = writeln!(
                template,
                "  {name:<14}{}",
                about.map(ToString::to_string).unwrap_or_default()
            );
        }
    }
    template.push_str(
        "\nOptions:\n{options}\n\n`saelab COMMAND --help` says more of one of them, `saelab config explain` all keys of all configs.\n\
         A path may be a location (s3://, gs://, az://, https://): docs/cluster.md.\n",
    );
    command.help_template(template)
}

/// The stages, in the order of the data.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch a model from the Hugging Face hub
    Model(subcommands::model::ModelArgs),
    /// Train a small language model on the written world
    Pretrain(subcommands::pretrain::Pretrain),
    /// Measure the six behaviours of a model trained on the written world
    Behaviours(subcommands::behaviours::Behaviours),
    /// Run a model and write the tensors at named hooks
    Trace(subcommands::trace::Trace),
    /// Compare a model with values of another implementation, and print PASS or what differs
    VerifyModel(subcommands::verify_model::VerifyModel),
    /// Find the sites where a model keeps the attributes of a task
    Locate(subcommands::locate::Locate),
    /// Run a model on prompts or text and store its activations
    Harvest(subcommands::harvest::Harvest),
    /// Convert a store of activations to other formats
    Store(subcommands::store::StoreArgs),
    /// Fit supervised dictionaries on stored activations
    Fit(subcommands::fit::Fit),
    /// Train sparse autoencoders on stored activations
    Train(subcommands::train::Train),
    /// Print, or submit, the Slurm jobs of a harvest and a training grid
    Submit(subcommands::submit::Submit),
    /// Show what is done, running or failed in an experiment, and what it cost
    Status(subcommands::status::Status),
    /// Run an autoencoder, of saelab or another library, on vectors from a file
    Encode(subcommands::encode::Encode),
    /// Convert a sparse autoencoder between saelab, SAELens, sparsify and dictionary_learning
    Convert(subcommands::convert::Convert),
    /// Show the contents of a sparse autoencoder's folder
    Inspect(subcommands::inspect::Inspect),
    /// Score autoencoders on text: cross-entropy with reconstructions in place of activations
    Splice(subcommands::splice::Splice),
    /// Score latents against the written world's labels of every token
    Truth(subcommands::truth::TruthArgs),
    /// Probe the world's labels with few latents, between a ceiling (the whole vector) and a floor (random rows)
    Probe(subcommands::probe::ProbeArgs),
    /// Score dictionaries of a task on approximation, control and interpretability (those of a text: splice)
    Eval(subcommands::eval::Eval),
    /// Learn masks over latents from the model's gradients: which latents carry an attribute
    Masks(subcommands::masks::MasksArgs),
    /// Compare evaluated dictionaries or runs, and say which differences are real
    Compare(subcommands::compare::Compare),
    /// Measure how often the intervals of few seeds cover the mean of many
    Coverage(subcommands::coverage::CoverageArgs),
    /// Write the page of a run, and pages of its latents
    Report(subcommands::report::Report),
    /// Serve the pages of all runs in a folder on this machine
    Serve(subcommands::serve::Serve),
    /// Find and check circuits: the edges between heads and MLPs behind a behaviour
    Circuit(subcommands::circuit::CircuitArgs),
    /// Explain functions whose description is known, and judge the explanations
    Find(subcommands::find::Find),
    /// Explain what the latents of dictionaries are active on, and score the explanations
    Explain(subcommands::explain::Explain),
    /// Train the toy models of feature occlusion and over-splitting
    Phenomena(subcommands::phenomena::Phenomena),
    /// Train autoencoders on activations whose features are known, and score what they find
    Synthetic(subcommands::synthetic::Synthetic),
    /// Print one table of what splice, truth and eval measured, averaged over seeds
    Quality(subcommands::quality::Quality),
    /// Measure what a paper reports and print it beside the published numbers
    Reproduce(subcommands::reproduce::Reproduce),
    /// Explain the keys of configs
    Config(subcommands::config_explain::ConfigArgs),
    /// Print a completion script for a shell
    Completions(subcommands::shell::Completions),
    /// Write man pages, one for each command
    Man(subcommands::shell::Man),
    /// List the devices that this program can use here
    Devices(subcommands::devices::Devices),
    /// Measure how fast this machine computes, reads and trains
    Bench(subcommands::bench::Bench),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_stands_under_one_heading() {
        let listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let mut command = command();
        let known: BTreeSet<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(
            listed.iter().find(|name| !known.contains(*name)),
            None,
            "no such command"
        );
        assert_eq!(
            listed.iter().collect::<BTreeSet<_>>().len(),
            listed.len(),
            "a command stands under two headings"
        );
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        let help = command.render_help().to_string();
        for name in known {
            let shown = help
                .lines()
                .filter(|line| line.starts_with(&format!("  {name:<14}")))
                .count();
            assert_eq!(shown, 1, "{name}: {help}");
        }
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command().debug_assert();
    }
}
