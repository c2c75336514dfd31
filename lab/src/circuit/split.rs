//! `saelab circuit split`: edges by positions, neurons, or latents of a dictionary.

use std::path::PathBuf;

use circuits::finer::{self, EdgeParts, Parts};
use circuits::{Edge, Graph};
use dictionaries::Autoencoder;
use lm::{HookPoint, LoadOptions};
use serde::Serialize;

use super::source::CircuitConfig;
use crate::run_folder;
use crate::{ConfigError, ConfigFile, Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/circuits/ioi.toml.
    pub config: ConfigFile,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How its weights are kept.
    pub load: LoadOptions,
    /// Edges, written as in a circuit's file.
    pub edges: Vec<String>,
    /// What they are taken apart into.
    pub by: By,
    /// Folder of an autoencoder of the source's or destination's hook_mlp_out or hook_z, or of a transcoder that stands for it.
    pub dictionary: Option<PathBuf>,
    /// The hook that a transcoder reads.
    pub reads: Option<HookPoint>,
    /// Parts of each edge that are printed.
    pub shown: usize,
    /// JSON file to write.
    pub out: Option<PathBuf>,
}

/// What edges are taken apart into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The positions that they carry, from the last one backwards
    Positions,
    /// The neurons of the MLP that they come from
    Neurons,
    /// The neurons of the MLP that they lead to
    ToNeurons,
    /// The latents of a dictionary that is spliced in where they lead to, and its error term
    ToLatents,
    /// The latents of a dictionary of what they come from, and its error term
    Latents,
}

/// An edge in the file that is written.
#[derive(Debug, Serialize)]
struct Written {
    edge: String,
    total: f64,
    rest: f64,
    parts: Vec<f64>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        let config: CircuitConfig = self.config.read()?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        let graph = Graph::new(model.spec());
        let edges: Vec<Edge> = self
            .edges
            .iter()
            .map(|name| graph.parse(name))
            .collect::<Result<_, _>>()?;
        let pairs = config.pairs.open(&tokenizer, context)?;
        let options = config.options();
        context.note(&format!(
            "circuit split: {} edges by {} on {} pairs",
            edges.len(),
            options.method,
            pairs.len()
        ));
        let one = |of: fn(&Edge) -> usize, what: &str| -> Result<usize, ConfigError> {
            let first = of(&edges[0]);
            match edges.iter().all(|edge| of(edge) == first) {
                true => Ok(first),
                false => Err(ConfigError(format!("--edge: name edges with one {what}"))),
            }
        };
        let destinations: Vec<usize> = edges.iter().map(|edge| edge.destination).collect();
        let found = match self.by {
            By::Positions => finer::positions(&model, &pairs, &options, &edges)?,
            By::Neurons => {
                let source = one(|edge| edge.source, "source")?;
                finer::source_parts(&model, &pairs, &options, source, &destinations, Parts::Neurons)?
            }
            By::Latents => {
                let source = one(|edge| edge.source, "source")?;
                let dictionary = self.open(context)?;
                finer::source_parts(
                    &model,
                    &pairs,
                    &options,
                    source,
                    &destinations,
                    self.latents(&dictionary),
                )?
            }
            By::ToNeurons | By::ToLatents => {
                let destination = one(|edge| edge.destination, "destination")?;
                let sources: Vec<usize> = edges.iter().map(|edge| edge.source).collect();
                let into = |parts| finer::destination_parts(&model, &pairs, &options, &sources, destination, parts);
                match self.by {
                    By::ToLatents => into(self.latents(&self.open(context)?))?,
                    _ => into(Parts::Neurons)?,
                }
            }
        };
        let tables: Vec<String> = found.iter().map(|parts| self.table(&graph, parts)).collect();
        if let Some(path) = &self.out {
            let written: Vec<Written> = found
                .iter()
                .map(|parts| Written {
                    edge: graph.name(parts.edge),
                    total: parts.total(),
                    rest: parts.rest,
                    parts: parts.parts.clone(),
                })
                .collect();
            artifacts::write_json(path, &written)?;
        }
        let remark = self.out.map(|path| format!("circuit split: {}", path.display()));
        Ok(Outcome::new((), tables.join("\n")).remark(remark))
    }

    fn open(&self, context: &Context) -> Result<Autoencoder> {
        let folder = self.dictionary.as_ref().ok_or_else(|| {
            let reason = "--by latents, to-latents: name the folder of a dictionary with --dictionary";
            ConfigError(reason.to_owned())
        })?;
        Ok(Autoencoder::open(folder, &context.device)?.0)
    }

    /// The latents of a dictionary: of a transcoder where the hook that it reads is named.
    fn latents<'a>(&self, dictionary: &'a Autoencoder) -> Parts<'a> {
        match self.reads {
            Some(hook) => Parts::Transcoder(dictionary, hook),
            None => Parts::Latents(dictionary),
        }
    }

    fn table(&self, graph: &Graph, edge: &EdgeParts) -> String {
        let name = |part: usize| match self.by {
            By::Positions => format!("position -{}", part + 1),
            By::Neurons | By::ToNeurons => format!("neuron {part}"),
            By::Latents | By::ToLatents => format!("latent {part}"),
        };
        let mut order: Vec<usize> = (0..edge.parts.len()).collect();
        order.sort_by(|&a, &b| edge.parts[b].abs().total_cmp(&edge.parts[a].abs()));
        let mut out = format!("{:<28} {:>10.4}\n", graph.name(edge.edge), edge.total());
        for &part in order.iter().take(self.shown) {
            out += &format!("  {:<26} {:>10.4}\n", name(part), edge.parts[part]);
        }
        let others: f64 = order.iter().skip(self.shown).map(|&part| edge.parts[part]).sum();
        if order.len() > self.shown {
            out += &format!(
                "  {:<26} {others:>10.4}\n",
                format!("{} others", order.len() - self.shown)
            );
        }
        if matches!(self.by, By::Latents | By::ToLatents) {
            out += &format!("  {:<26} {:>10.4}\n", "error term", edge.rest);
        }
        out
    }
}
