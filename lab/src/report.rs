//! `saelab report`: the page about a run, and pages of what its latents do.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use activations::store::TokenWindow;
use activations::{Node, Store};
use dictionaries::{Autoencoder, Origin};
use eval::report::REPORT;
use eval::{DictionarySet, Report as EvalReport, TaskDictionary};
use lm::{HookPoint, LoadOptions, Model};
use pages::latents::{self, Place, Source, Subject, neuronpedia};
use pages::run::Run;
use supervised::SupervisedDictionary;
use tasks::{Task, TaskSource};
use text::Tokenizer;

use crate::error::WithContext as _;
use crate::estimate;
use crate::left_out::LeftOut;
use crate::run_folder::{self, RunFolder};
use crate::wording::counted;
use crate::{ConfigError, Context, Result};
use crate::{dictionary_sets, hook_autoencoders};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the experiment; receives report.html and latents/.
    pub run: PathBuf,
    /// Model (a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled): makes the pages of latents.
    pub model: Option<PathBuf>,
    /// How the weights of the model are kept.
    pub load: LoadOptions,
    /// Store of activations that latents are looked at on [default: RUN/activations].
    pub activations: Option<PathBuf>,
    /// Sites file, which names the task; needed where the task is read from a file or the run was not evaluated.
    pub sites: Option<PathBuf>,
    /// Dictionary whose latents are looked at, may be given several times [default: of each trained family the first seed].
    pub dictionary: Vec<String>,
    /// Prompts on which the effect of a latent on the answer is estimated.
    pub prompts: usize,
    /// Folder that receives the latents in Neuronpedia's upload layout too.
    pub neuronpedia: Option<PathBuf>,
}

/// A dictionary at a place.
struct Chosen {
    set: String,
    folder: String,
    place: Place,
    writes: HookPoint,
    dictionary: Box<TaskDictionary>,
    supervised: Option<(String, SupervisedDictionary)>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Option<PathBuf>> {
        let is_evaluated = self.run.join(REPORT).exists();
        match &self.model {
            Some(model) => self.latents(model, context)?,
            None if !is_evaluated => {
                ensure!(self.run.is_dir(), "{}: there is no such folder", self.run.display());
                bail!(
                    "{} holds no {REPORT}, which the page of a run is made of and `saelab eval` writes; pages of latents need none, but \
                     --model MODEL",
                    self.run.display()
                );
            }
            None => {}
        }
        if !is_evaluated && self.model.is_some() {
            context.note(
                "report: the run was not evaluated, so there is no page about it; `saelab eval` makes its report.json",
            );
            let pages = latents::pages(&self.run);
            if let Some((first, _)) = pages.first() {
                let first = self.run.join(first);
                context.note(&format!(
                    "report: {} of latents, the first is {}",
                    counted(pages.len(), "page"),
                    first.display()
                ));
            }
            return Ok(None);
        }
        let page = Run::read(&self.run)?.write(&self.run)?;
        Ok(Some(page))
    }

    fn latents(&self, model: &Path, context: &Context) -> Result<()> {
        let run = RunFolder(self.run.clone());
        let activations = self.activations.clone().unwrap_or_else(|| run.activations());
        let store = Store::open(&activations)
            .context("pages of latents need a store of activations, named with --activations")?;
        let (model, tokenizer) = run_folder::load_model(model, self.load, context)?;
        let provenance = &store.manifest().provenance;
        ensure!(
            provenance.model_hash == model.hash() && provenance.tokenizer_hash == tokenizer.hash(),
            "{} was harvested from another model or tokenizer than --model names, or with its weights in another type than --dtype {}; \
             name that model, and that type",
            activations.display(),
            model.dtype()
        );
        let task = self.task(&store, &tokenizer)?;
        let chosen = self.chosen(&run, &store, context)?;
        let windows = store.windows()?;
        let windows: Vec<TokenWindow> = windows.read(0..windows.len())?;
        let rows = store.manifest().rows;
        let flop: f64 = chosen.iter().map(|chosen| cost(chosen, &store, &model)).sum();
        context.note(&format!(
            "report: latents of {} on {rows} vectors of each hook, {flop:.1e} FLOP, about {:.0} s",
            counted(chosen.len(), "autoencoder"),
            estimate::of_pages(flop, context).max(chosen.len() as f64)
        ));
        let bar = context.bar("latents", chosen.len());
        for chosen in &chosen {
            let source = Source {
                store: &store,
                windows: &windows,
                tokenizer: &tokenizer,
                model: &model,
                task: task.as_deref(),
                prompts: self.prompts,
            };
            let subject = Subject {
                set: &chosen.set,
                site: &chosen.folder,
                place: chosen.place,
                writes: chosen.writes,
                dictionary: chosen.dictionary.as_ref(),
                supervised: chosen
                    .supervised
                    .as_ref()
                    .map(|(name, dictionary)| (name.as_str(), dictionary)),
            };
            let found = latents::measure(&subject, &source, &mut |_| {})?;
            latents::write(
                &found,
                &subject,
                &source,
                &run.0.join(latents::FOLDER).join(&chosen.set).join(&chosen.folder),
            )?;
            if let Some(folder) = &self.neuronpedia {
                let name = model_name(&self.model);
                neuronpedia::write(
                    &found,
                    &subject,
                    &source,
                    &name,
                    &folder.join(&chosen.set).join(&chosen.folder),
                )?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// The task of the prompts of a store, `None` for a store of text: that of the sites file, or the one that the store names.
    fn task(&self, store: &Store, tokenizer: &Tokenizer) -> Result<Option<Box<dyn Task>>> {
        if store.manifest().roles.is_empty() {
            return Ok(None);
        }
        if let Some(path) = &self.sites {
            let (sites, schema) = run_folder::read_sites(path)?;
            run_folder::check_task(store, &sites, &schema)?;
            return Ok(Some(sites.task.open(tokenizer)?));
        }
        let named = &store.manifest().provenance.settings["source"]["task"];
        let Some(name) = named.as_str() else {
            return Ok(Some(TaskSource::default().open(tokenizer)?));
        };
        // A store keeps the name of a task file, not its path.
        let source: TaskSource = name.parse().map_err(|_| {
            ConfigError(format!(
                "the prompts are those of task `{name}`, which was read from a file; name its sites file with --sites"
            ))
        })?;
        Ok(Some(source.open(tokenizer)?))
    }

    /// The dictionaries of the run that the store has activations for: those that are named, or of each family the first seed.
    fn chosen(&self, run: &RunFolder, store: &Store, context: &Context) -> Result<Vec<Chosen>> {
        let all = match store.manifest().roles.is_empty() {
            true => at_hooks(run, store, context)?,
            false => at_nodes(run, store, self.sites.as_deref(), context)?,
        };
        let known: BTreeSet<String> = all.iter().map(|(_, chosen)| chosen.set.clone()).collect();
        if let Some(unknown) = self.dictionary.iter().find(|name| !known.contains(*name)) {
            let known: Vec<String> = known.into_iter().collect();
            return Err(ConfigError(format!("--dictionary {unknown}: the run has {}", known.join(", "))).into());
        }
        let mut first_seeds: Vec<(String, String)> = Vec::new();
        for (family, chosen) in &all {
            if first_seeds.iter().all(|(known, _)| known != family) {
                first_seeds.push((family.clone(), chosen.set.clone()));
            }
        }
        let wanted = |set: &str| match self.dictionary.is_empty() {
            true => first_seeds.iter().any(|(_, first)| first == set),
            false => self.dictionary.iter().any(|name| name == set),
        };
        let chosen: Vec<Chosen> = all
            .into_iter()
            .map(|(_, chosen)| chosen)
            .filter(|chosen| wanted(&chosen.set))
            .collect();
        ensure!(
            !chosen.is_empty(),
            "{} holds no trained dictionary of these activations; run `saelab train` first, or name the store with --activations",
            run.0.display()
        );
        Ok(chosen)
    }
}

/// Products of the encoder, and of the unembedding where directions go through it.
fn cost(chosen: &Chosen, store: &Store, model: &Model) -> f64 {
    let (f, d) = (chosen.dictionary.n_latents() as f64, chosen.dictionary.d_in() as f64);
    2.0 * f * d * (store.manifest().rows as f64 + f + model.spec().d_vocab as f64)
}

fn model_name(model: &Option<PathBuf>) -> String {
    let name = model.as_deref().and_then(Path::file_stem);
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The family of each trained dictionary at each node of the sites, and the dictionary. The sites are those of the file, or those
/// of the evaluation.
fn at_nodes(run: &RunFolder, store: &Store, sites: Option<&Path>, context: &Context) -> Result<Vec<(String, Chosen)>> {
    let report = run.0.join(REPORT);
    let report = match report.exists() || sites.is_none() {
        true => Some(EvalReport::read(&report).context("without --sites the sites of a run are those of its report")?),
        false => None,
    };
    let nodes: BTreeSet<Node> = match (sites, &report) {
        (Some(path), _) => run_folder::read_sites(path)?.0.nodes(),
        (None, Some(report)) => report
            .sites
            .iter()
            .flat_map(|site| site.nodes.iter().copied())
            .collect(),
        (None, None) => unreachable!("without --sites the report was read"),
    };
    let supervised = run_folder::folders(&run.supervised())?;
    let reference = supervised
        .iter()
        .find(|name| report.as_ref().is_some_and(|report| **name == report.config.reference))
        .or(supervised.first())
        .cloned();
    let mut all = Vec::new();
    for set in dictionary_sets::load(run, store, &nodes, &[], &mut LeftOut::new("report", context), context)? {
        let DictionarySet {
            name,
            family,
            seeded,
            by_node,
            reads,
            ..
        } = set;
        if !seeded {
            continue;
        }
        for (node, dictionary) in by_node {
            let supervised = match &reference {
                Some(name) => Some((
                    name.clone(),
                    SupervisedDictionary::load(&run.supervised().join(name).join(node.dir_name()), &context.device)?.0,
                )),
                None => None,
            };
            let chosen = Chosen {
                set: name.clone(),
                folder: node.dir_name(),
                place: Place::Node(reads.get(&node).copied().unwrap_or(node)),
                writes: node.hook,
                dictionary,
                supervised,
            };
            all.push((family.clone(), chosen));
        }
    }
    Ok(all)
}

/// The same at the hooks of a store of text.
fn at_hooks(run: &RunFolder, store: &Store, context: &Context) -> Result<Vec<(String, Chosen)>> {
    let mut all = Vec::new();
    for at in hook_autoencoders::all(run, &mut LeftOut::new("report", context))? {
        if !store.manifest().hooks.contains_key(&at.hook) {
            continue;
        }
        for (name, dir) in at.autoencoders {
            let (dictionary, origin) = Autoencoder::open(&dir, &context.device)?;
            let writes = origin.writes().filter(|_| dictionary.transcodes).unwrap_or(at.hook);
            let family = match &origin {
                Origin::Trained(trained) => name
                    .strip_suffix(&format!("-seed{}", trained.variant.seed))
                    .unwrap_or(&name)
                    .to_owned(),
                Origin::Imported { .. } => name.clone(),
            };
            let chosen = Chosen {
                set: name,
                folder: at.site.clone(),
                place: Place::Hook(at.hook, at.head),
                writes,
                dictionary: Box::new(dictionary),
                supervised: None,
            };
            all.push((family, chosen));
        }
    }
    Ok(all)
}
