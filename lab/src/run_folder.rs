//! Where the stages of one experiment keep their artefacts, and what several of them load alike.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use activations::{SourceConfig, Store};
use causal::Sites;
use eval::report::REPORT;
use hub::{Hub, HubModel};
use lm::{LoadOptions, Model};
use serde_json::Value;
use tasks::world::World;
use tasks::{Sample, Schema, Task, TaskSource};
use text::{Corpus, Document, Skipped, Tokenizer, corpus};

use crate::error::WithContext as _;
use crate::{ConfigError, Context, Result, config};

/// The folder of one experiment: `activations/`, `supervised/<name>/<node>/`, `sae/<name>/<node>/`,
/// `checkpoints/` while training, and the report.
#[derive(Debug, Clone)]
pub struct RunFolder(pub PathBuf);

impl RunFolder {
    /// The store of activations.
    pub fn activations(&self) -> PathBuf {
        self.0.join("activations")
    }

    /// Supervised dictionaries, by name and node.
    pub fn supervised(&self) -> PathBuf {
        self.0.join("supervised")
    }

    /// Autoencoders, by name and node.
    pub fn sae(&self) -> PathBuf {
        self.0.join("sae")
    }

    /// What an unfinished evaluation has measured.
    pub fn unfinished(&self) -> PathBuf {
        self.0.join("eval-unfinished")
    }

    /// Checkpoints of autoencoders in training, by node.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }
}

/// Refuses a folder without a report, and says what makes one.
pub(crate) fn check_evaluated(run: &Path) -> Result<()> {
    let path = run.display();
    ensure!(run.is_dir(), "{path}: there is no such folder");
    ensure!(
        run.join(REPORT).exists(),
        "{path} holds no {REPORT}; `saelab eval` writes it for dictionaries of a task, `saelab splice` a splice.json for autoencoders of \
         a text"
    );
    Ok(())
}

/// Names of the folders in `dir` that are not hidden, sorted; none when `dir` does not exist.
pub(crate) fn folders(dir: &Path) -> Result<Vec<String>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot list {}", dir.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is not finished yet is hidden.
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The folder or GGUF file of a model: the one that is named, or, where there is none, what the Hugging Face cache holds of that name.
///
/// # Errors
/// Neither is there.
pub fn model_folder(named: &Path) -> Result<PathBuf> {
    ensure!(
        !named.as_os_str().is_empty(),
        "the name of the model is empty; name its folder, or a model that was pulled"
    );
    let is_there = named
        .try_exists()
        .with_context(|| format!("cannot look for the model {}", named.display()))?;
    if is_there {
        let is_gguf = named.extension().is_some_and(|ending| ending == "gguf");
        ensure!(
            named.is_dir() || is_gguf,
            "{} is a file; name the folder of a model, which holds its config.json, or a file that ends in .gguf",
            named.display()
        );
        // What is missing in the folder is named by its reader.
        return Ok(named.to_owned());
    }
    let Some(model) = named.to_str().and_then(|name| HubModel::new(name, "main").ok()) else {
        bail!(
            "{}: there is no such folder; name the folder of a model, or the name of one that was pulled",
            named.display()
        );
    };
    let hub = Hub::from_env()?;
    hub.cached(&model)?.with_context(|| {
        format!(
            "{model}: there is no such folder, and no such model in the cache {}; if that is its name on the Hugging Face hub, \
             `saelab model pull {model}` fetches it",
            hub.cache().display()
        )
    })
}

/// The model of a folder; says what of the folder is not used.
///
/// # Errors
/// Files that are missing, damaged or of a model that is not supported.
pub fn open_model(dir: &Path, options: LoadOptions, context: &Context) -> Result<Model> {
    let model = Model::load_with(dir, options, &context.device)?;
    if let Some(index) = model.passed_over_index() {
        context.note(&format!(
            "{}: not used, since model.safetensors lies beside it",
            index.display()
        ));
    }
    Ok(model)
}

/// The model and the tokenizer of a folder or name, which must belong together; with weights as `options` say.
///
/// # Errors
/// As [`model_folder`] and [`open_model`]; a tokenizer of another model.
pub fn load_model(dir: &Path, options: LoadOptions, context: &Context) -> Result<(Model, Tokenizer)> {
    let dir = model_folder(dir)?;
    let tokenizer = Tokenizer::open(&dir)?;
    let model = open_model(&dir, options, context)?;
    let (largest, d_vocab) = (tokenizer.largest_id(), model.spec().d_vocab);
    ensure!(
        (largest as usize) < d_vocab,
        "{}: the tokenizer gives ids up to {largest} but the model has {d_vocab} tokens; the two files do not belong together",
        dir.display()
    );
    if dir.is_dir() {
        check_bos(&dir, &tokenizer)?;
    }
    Ok((model, tokenizer))
}

/// Checks that the configuration of a model names the token with which texts of the tokenizer begin: ids of a smaller vocabulary fit
/// every model, and this tells another one.
fn check_bos(dir: &Path, tokenizer: &Tokenizer) -> Result<()> {
    let config: Value = artifacts::read_json(&dir.join("config.json"))?;
    let ends = ["bos_token_id", "eos_token_id"].map(|key| config[key].as_u64());
    if let Some(bos) = tokenizer.bos().map(u64::from) {
        ensure!(
            ends.contains(&Some(bos)) || ends.contains(&None),
            "{}: `bos_token_id` and `eos_token_id` of config.json are not {bos}, with which texts of the tokenizer begin; the two \
             files do not belong together",
            dir.display()
        );
    }
    Ok(())
}

/// The documents of a text source.
pub(crate) enum Texts {
    /// Of files.
    Corpus(Box<corpus::Documents>),
    /// Made here.
    World(Box<dyn Iterator<Item = Document>>),
}

impl Iterator for Texts {
    type Item = Result<Document, text::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Corpus(documents) => documents.next(),
            Self::World(documents) => documents.next().map(Ok),
        }
    }
}

impl Texts {
    /// How many lines or rows were skipped so far, where any were.
    pub(crate) fn skipped(&self) -> Option<String> {
        match self {
            Self::Corpus(documents) => match documents.skipped() {
                Skipped {
                    count,
                    first: Some(first),
                } => Some(format!("unreadable lines skipped: {count}; the first: {first}")),
                Skipped { first: None, .. } => None,
            },
            Self::World(_) => None,
        }
    }
}

/// The documents of a text source, one after the other, chats rendered for the model of `tokenizer`; says which files are named more
/// than once.
pub(crate) fn documents(source: &SourceConfig, tokenizer: &Tokenizer, context: &Context) -> Result<Texts> {
    source.validate().map_err(|error| ConfigError(error.to_string()))?;
    match source {
        SourceConfig::Prompts { .. } => {
            Err(ConfigError("`source`: prompts are no text; use kind \"text\" or \"world\"".to_owned()).into())
        }
        SourceConfig::Text { path, on_bad_line, .. } => {
            let chat = source.chat(tokenizer)?;
            let corpus = Corpus::open(path.as_slice(), source.text_field(), *on_bad_line)?;
            let corpus = match chat {
                Some(chat) => corpus.chats(chat),
                None => corpus,
            };
            for path in corpus.repeated() {
                context.note(&format!("{} is named more than once, and is read once", path.display()));
            }
            Ok(Texts::Corpus(Box::new(corpus.into_documents())))
        }
        SourceConfig::World { documents, seed, .. } => {
            let (world, seed) = (World::new(), *seed);
            let texts = (0..*documents).map(move |index| world.document(seed, index).text());
            Ok(Texts::World(Box::new(Document::made(texts))))
        }
    }
}

/// Opens a task in the tokens of a model, and says how many words of its lists they leave.
pub(crate) fn open_task(source: &TaskSource, tokenizer: &Tokenizer, context: &Context) -> Result<Box<dyn Task>> {
    let task = source.open(tokenizer)?;
    let lists: Vec<String> = (task.word_lists().iter())
        .map(|list| format!("{} of {} {}", list.kept, list.of, list.list))
        .collect();
    if !lists.is_empty() {
        context.note(&format!(
            "task {}: one token each are {}",
            task.name(),
            lists.join(", ")
        ));
    }
    Ok(task)
}

/// Says so where a sample has fewer prompts than are asked for.
pub(crate) fn note_available(task: &dyn Task, sample: Sample, asked: usize, what: &str, context: &Context) {
    if let Some(found) = task.available(sample).filter(|found| *found < asked) {
        context.note(&format!(
            "task {}: {what} asks for {asked} prompts, the file has {found}, which are all taken",
            task.name()
        ));
    }
}

/// Refuses a store of other prompts than those of the sites' task.
pub(crate) fn check_task(store: &Store, sites: &Sites, schema: &Schema) -> Result<()> {
    let Some(node) = sites.nodes().into_iter().next() else {
        return Ok(());
    };
    let first = store.shards_of(node.hook, node.head, &BTreeSet::from([0]))?;
    let labels = first
        .rows
        .first()
        .and_then(|row| row.labels.clone())
        .unwrap_or_default();
    let missing = schema.edited.iter().find(|attribute| labels.get(**attribute).is_none());
    match missing {
        None => Ok(()),
        Some(missing) => bail!(
            "the sites are those of task {}, but the stored prompts have no label {missing}; harvest prompts of that task into \
             a folder of its own, or name the sites file of the prompts' task",
            schema.name
        ),
    }
}

/// Reads a sites file, and the schema of its task.
pub(crate) fn read_sites(path: &Path) -> Result<(Sites, Schema)> {
    let sites: Sites = config::read(path, &[])?;
    let refused = |error: causal::Error| ConfigError(format!("{}: {error}", path.display()));
    let schema = sites.task.schema().map_err(|error| refused(error.into()))?;
    sites.check_task(&schema).map_err(refused)?;
    Ok((sites, schema))
}

/// Writes a sites file, with a first line that says what it is.
pub(crate) fn write_sites(path: &Path, sites: &Sites) -> Result<()> {
    let text = toml::to_string_pretty(sites).context("the sites cannot be written as TOML")?;
    let head = "# Where this model keeps the attributes of a task; written by `saelab locate`.\n";
    Ok(artifacts::write_atomic(path, |file| write!(file, "{head}{text}"))?)
}
