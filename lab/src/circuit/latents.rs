//! `saelab circuit latents`: which latents of a dictionary carry an attribute, beside those that the supervised evaluation chooses.
//!
//! A latent's score is how much the metric falls when it has the code of the counterfactual prompt. The evaluation of `saelab eval` chooses
//! latents twice: by F1, one for each value, and in its edits, which exchange the latents that come nearest to the counterfactual vector.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use activations::{Node, Store};
use causal::interventions::Runner;
use circuits::finer::{Latents as Scores, Vector, node_latents};
use circuits::{Metric, TaskPairs, task_pairs};
use dictionaries::{Codes, Directions, encode};
use eval::interpretability::{Criterion, choose};
use eval::{TaskDictionary, control};
use lm::{LoadOptions, Model};
use serde::Serialize;
use tasks::{Attribute, Sample, Task};

use crate::dictionary_sets;
use crate::error::WithContext as _;
use crate::left_out::LeftOut;
use crate::run_folder::{self, RunFolder};
use crate::{Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the experiment, as of `make eval-ioi`.
    pub run: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How its weights are kept.
    pub load: LoadOptions,
    /// Sites file.
    pub sites: PathBuf,
    /// Name of its dictionaries.
    pub dictionary: String,
    /// Pairs of a prompt and its counterfactual.
    pub pairs: usize,
    /// Prompts on which latents are chosen by F1.
    pub interpretability_prompts: usize,
    /// Latents that an edit exchanges.
    pub k: usize,
    /// Gradients on the way from the counterfactual vector to the clean one.
    pub steps: usize,
    /// JSON file to write.
    pub out: Option<PathBuf>,
}

/// Pairs that are run together.
const BATCH: usize = 16;

/// What was found at a node for an attribute.
#[derive(Debug, Serialize)]
struct Row {
    node: Node,
    attribute: Attribute,
    /// How much the metric falls when the whole vector is the counterfactual's.
    patched: f64,
    /// Score of the whole vector, of the error term, and of each latent.
    total: f64,
    error: f64,
    scores: Vec<f64>,
    /// Latents that the evaluation chooses by F1, with the values that they stand for.
    by_f1: BTreeMap<u32, Vec<String>>,
    /// How often each latent is exchanged in an edit, over prompts.
    exchanged: BTreeMap<u32, usize>,
    /// Latents that are active on one of the prompts.
    alive: usize,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        let (sites, schema) = run_folder::read_sites(&self.sites)?;
        sites.check(&schema, &model)?;
        let task = run_folder::open_task(&sites.task, &tokenizer, context)?;
        let run = RunFolder(self.run.clone());
        let store = Store::open(&run.activations())?;
        let sets = dictionary_sets::load(
            &run,
            &store,
            &sites.nodes(),
            &[],
            &mut LeftOut::new("circuit latents", context),
            context,
        )?;
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        let set = sets.iter().find(|set| set.name == self.dictionary).with_context(|| {
            format!(
                "{} holds no {}; it has {}",
                self.run.display(),
                self.dictionary,
                names.join(", ")
            )
        })?;
        context.note(&format!(
            "circuit latents: {} at {} sites, {} runs forward and backward of {} pairs for each attribute of a node",
            set.name,
            sites.sites.len(),
            self.steps,
            self.pairs
        ));
        let mut rows = Vec::new();
        for site in &sites.sites {
            for (&node, &attribute) in site
                .nodes
                .iter()
                .flat_map(|node| site.attributes.iter().map(move |a| (node, a)))
            {
                if let Some(dictionary) = set.by_node.get(&node) {
                    rows.push(self.row(&model, task.as_ref(), node, attribute, dictionary.as_ref())?);
                }
            }
        }
        let tables: Vec<String> = rows.iter().map(|row| row.table(self.k)).collect();
        if let Some(path) = &self.out {
            artifacts::write_json(path, &rows)?;
        }
        let remark = self.out.map(|path| format!("circuit latents: {}", path.display()));
        Ok(Outcome::new((), tables.join("\n")).remark(remark))
    }

    #[expect(clippy::expect_used, reason = "what was asked for is recorded")]
    fn row(
        &self,
        model: &Model,
        task: &dyn Task,
        node: Node,
        attribute: Attribute,
        dictionary: &TaskDictionary,
    ) -> Result<Row> {
        let encoder = dictionary.as_encoder().with_context(|| {
            format!(
                "--dictionary {}: its codes are read from labels; name one that reads activations",
                self.dictionary
            )
        })?;
        let of = TaskPairs {
            attribute,
            at: Vec::new(),
            sample: Sample::Evaluation,
            n: self.pairs,
            seed: 0,
        };
        let pairs = task_pairs(task, &of)?;
        let prompts = task.sample(of.sample, of.n, of.seed);
        let others = task.counterfactuals(&prompts, attribute, of.seed);
        let positions = prompts.iter().map(|prompt| prompt.position(node.role));
        let at = Vector {
            hook: node.hook,
            head: node.head,
            positions: positions
                .collect::<Option<_>>()
                .with_context(|| format!("a prompt has no {}", node.role))?,
        };
        let Scores {
            scores,
            error,
            total,
            patched,
        } = node_latents(model, &pairs, (Metric::LogitDiff, self.steps, BATCH), &at, encoder)?;
        let runner = Runner::new(model, BATCH);
        let coded = |prompts: &[tasks::Prompt]| -> Result<_> {
            let mut recorded = runner.record(prompts, &BTreeSet::from([node]))?;
            let activations = recorded.remove(&node).expect("the node was asked for");
            let labels: Vec<_> = prompts.iter().map(|prompt| prompt.labels.clone()).collect();
            let codes = encode(dictionary, &activations, &labels);
            Ok((activations, codes))
        };
        let sample = task.sample(Sample::Interpretability, self.interpretability_prompts, 0);
        let by_f1 = chosen(task, attribute, &sample, coded(&sample)?.1);
        let (source, target) = (coded(&prompts)?, coded(&others)?);
        let edits = control::greedy(
            (&source.0, &source.1),
            (&target.0, &target.1),
            &Directions::of(dictionary),
            self.k,
        );
        let mut exchanged = BTreeMap::new();
        for swap in edits.iter().flatten() {
            *exchanged.entry(swap.latent).or_default() += 1;
        }
        Ok(Row {
            node,
            attribute,
            patched,
            total,
            error,
            scores,
            by_f1,
            exchanged,
            alive: source.1.n_alive(),
        })
    }
}

/// The latents that the evaluation chooses by F1, with the values that they stand for.
fn chosen(task: &dyn Task, attribute: Attribute, sample: &[tasks::Prompt], codes: Codes) -> BTreeMap<u32, Vec<String>> {
    let values: Vec<usize> = sample
        .iter()
        .filter_map(|prompt| prompt.labels.get(attribute))
        .collect();
    let mut by_latent: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for chosen in choose(&[codes], &values, task.n_values(attribute), Criterion::F1) {
        let name = task.value_name(attribute, chosen.value).to_owned();
        by_latent.entry(chosen.latent).or_default().push(name);
    }
    by_latent
}

impl Row {
    /// Latents by their scores without signs, the largest first.
    fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.scores.len() as u32).collect();
        order.sort_by(|&a, &b| self.size(b).total_cmp(&self.size(a)));
        order
    }

    fn size(&self, latent: u32) -> f64 {
        self.scores[latent as usize].abs()
    }

    /// Share of what all latents score, without signs.
    fn share(&self, latents: impl Iterator<Item = u32>) -> f64 {
        let all: f64 = self.scores.iter().map(|score| score.abs()).sum();
        latents.map(|latent| self.size(latent)).sum::<f64>() / all.max(f64::MIN_POSITIVE)
    }

    fn table(&self, k: usize) -> String {
        let order = self.order();
        let n = self.by_f1.len();
        let best: BTreeSet<u32> = order.iter().copied().take(n).collect();
        let both = self.by_f1.keys().filter(|latent| best.contains(latent)).count();
        let exchanges: usize = self.exchanged.values().sum();
        let of_best: usize = self
            .exchanged
            .iter()
            .filter(|(latent, _)| best.contains(latent))
            .map(|(_, times)| times)
            .sum();
        let mut out = format!(
            "{} {}: the metric falls by {:.3} when the vector is the counterfactual's; scores: latents {:.3}, error term {:.3}\n\
             {n} latents by F1 carry {:.2} of what {} alive latents score, the best {n} carry {:.2}; {both} are in both ({:.1} by chance)\n\
             {:.2} of what edits with {k} latents exchange is among the best {n}\n",
            self.node,
            self.attribute,
            self.patched,
            self.total - self.error,
            self.error,
            self.share(self.by_f1.keys().copied()),
            self.alive,
            self.share(best.iter().copied()),
            (n * n) as f64 / self.alive.max(1) as f64,
            of_best as f64 / exchanges.max(1) as f64,
        );
        out += &format!("{:>8} {:>10} {:>10}  best by F1 for\n", "latent", "score", "exchanged");
        for latent in order.into_iter().take(8) {
            let values = self
                .by_f1
                .get(&latent)
                .map_or_else(|| "-".to_owned(), |values| values.join(", "));
            out += &format!(
                "{latent:>8} {:>10.4} {:>10}  {values}\n",
                self.scores[latent as usize],
                self.exchanged.get(&latent).copied().unwrap_or(0)
            );
        }
        out
    }
}
