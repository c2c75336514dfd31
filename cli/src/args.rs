//! The command line.

use clap::{Parser, Subcommand};

use crate::commands;

/// Trains sparse autoencoders on language-model activations and compares them with supervised dictionaries.
#[derive(Debug, Parser)]
#[command(name = "saelab", version, arg_required_else_help = true)]
pub(crate) struct Args {
    /// Where tensors live: cpu, wgpu or cuda, the latter also by number (cuda:0)
    #[arg(long, global = true, default_value = "cpu")]
    pub(crate) device: String,
    /// Draw no progress bars
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The stages, in the order of the data.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch a model from the Hugging Face hub
    Model(commands::model::ModelArgs),
    /// Train a small language model on the written world
    Pretrain(commands::pretrain::Pretrain),
    /// Measure the six behaviours of a model trained on the written world
    Behaviours(commands::behaviours::Behaviours),
    /// Run a model and write the tensors at named hooks
    Trace(commands::trace::Trace),
    /// Compare a model with what another implementation computed; says PASS or what differs
    VerifyModel(commands::verify_model::VerifyModel),
    /// Find the sites where a model keeps the attributes of a task
    Locate(commands::locate::Locate),
    /// Cache activations in Parquet
    Harvest(commands::harvest::Harvest),
    /// Turn a store of activations into other forms
    Store(commands::store::StoreArgs),
    /// Fit supervised dictionaries on cached activations
    Fit(commands::fit::Fit),
    /// Train sparse autoencoders on cached activations
    Train(commands::train::Train),
    /// Print, or submit, the Slurm jobs of a harvest and a training grid
    Submit(commands::submit::Submit),
    /// Say what of an experiment is done, running or failed, and what it cost
    Status(commands::status::Status),
    /// Run a sparse autoencoder, of saelab or another library, on vectors from a file
    Encode(commands::encode::Encode),
    /// Convert a sparse autoencoder between saelab, SAELens, sparsify and dictionary_learning
    Convert(commands::convert::Convert),
    /// Show what a folder of a sparse autoencoder holds
    Inspect(commands::inspect::Inspect),
    /// Measure cross-entropy on running text with the reconstructions of autoencoders in place
    Splice(commands::splice::Splice),
    /// Score latents of autoencoders against all that the written world knows of its tokens
    Truth(commands::truth::TruthArgs),
    /// Probe the world's labels with few latents: beside the ceiling of a probe of the vector and the floor of random rows
    Probe(commands::probe::ProbeArgs),
    /// Compare dictionaries on approximation, control and interpretability
    Eval(commands::eval::Eval),
    /// Learn masks over latents from the model's gradients: which latents carry an attribute
    Masks(commands::masks::MasksArgs),
    /// Say which differences between dictionaries of one or several evaluations are real
    Compare(commands::compare::Compare),
    /// Measure whether the intervals of few seeds hold the mean of many
    Coverage(commands::coverage::CoverageArgs),
    /// Write the page about a run, and pages of its latents
    Report(commands::report::Report),
    /// Serve the pages of all runs in a folder on this machine
    Serve(commands::serve::Serve),
    /// Find the edges between heads and MLPs that carry a behaviour, and measure how faithful they are alone
    Circuit(commands::circuit::CircuitArgs),
    /// Explain functions whose description is known, and judge the explanations
    Find(commands::find::Find),
    /// Explain what the latents of dictionaries are active on, and score the explanations
    Explain(commands::explain::Explain),
    /// Run the toys of occlusion and over-splitting
    Phenomena(commands::phenomena::Phenomena),
    /// Train autoencoders on activations whose features are known, and score what they find
    Synthetic(commands::synthetic::Synthetic),
    /// Print one table of what splice and eval found, seeds taken together
    Quality(commands::quality::Quality),
    /// Measure what a paper reports and print it beside the published numbers
    Reproduce(commands::reproduce::Reproduce),
    /// List the devices that this program can use here
    Devices(commands::devices::Devices),
    /// Measure the kernels on this machine
    Bench(commands::bench::Bench),
}
