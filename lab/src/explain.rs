//! `saelab explain`: what the latents of dictionaries are active on, and whether that is so.

use std::collections::BTreeMap;
use std::path::PathBuf;

use activations::store::Row;
use activations::{Node, SourceConfig, Store};
use burn::tensor::{Device, Tensor};
use dictionaries::{Autoencoder, Encoder, LabelledEncoder, Origin, RandomDictionary};
use eval::{EditMethod, Metric, Report};
use explain::Status;
use explain::agent::Agent;
use explain::latents::{
    DictionaryExplained, ExplainConfig, ExplainFile, ExplanationMethod, Plan, PlantedCodes, Predicts, Reader, Rung,
    TruthLabels, Vocabulary, Whose, explain_dictionary, predicts, predicts_table, table, write_delphi,
    write_neuronpedia,
};
use explain::statistic::Estimate;
use lm::{LoadOptions, Model};
use serde::Serialize;
use supervised::SupervisedDictionary;
use tasks::{Labels, Role};
use text::Tokenizer;

use crate::error::WithContext as _;
use crate::hook_autoencoders::check_site;
use crate::language_model::{EndpointFailed, LanguageModel};
use crate::picture::{self, Mark};
use crate::run_folder::{self, RunFolder};
use crate::training_site::TrainingSite;
use crate::{ConfigFile, Context, Outcome, Result};
use artifacts::HeldFolder;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/explain/quick.toml.
    pub config: ConfigFile,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How the weights of the model are kept.
    pub load: LoadOptions,
    /// Folder of the experiment: its dictionaries are explained, the result is written there.
    pub run: PathBuf,
    /// Store that contexts are taken from [default: `activations` of the run].
    pub activations: Option<PathBuf>,
    /// Only dictionaries of this name; may be repeated.
    pub dictionary: Vec<String>,
    /// Only these latents, by number: 3,17,250.
    pub latents: Vec<u32>,
    /// Also write the explanations as Neuronpedia has them: a file of JSON lines.
    pub neuronpedia: Option<PathBuf>,
    /// Also write explanations and detection scores as delphi has them: a folder.
    pub delphi: Option<PathBuf>,
    /// SVG file to draw: how well each score predicts whether an explanation is true.
    pub picture: Option<PathBuf>,
    /// A language model that explains too, where one is asked.
    pub language: LanguageModel,
}

/// Version of `explain.json`.
const FORMAT_VERSION: u32 = 2;

/// What `explain.json` holds.
#[derive(Debug, Serialize)]
struct ExplainedFile<'a> {
    format_version: u32,
    model: &'a str,
    store: &'a str,
    settings: &'a ExplainFile,
    dictionaries: &'a [DictionaryExplained],
    predicts: &'a [Predicts],
}

/// Latents explained, and which explanations predict the truth.
#[derive(Debug)]
pub struct Explained {
    /// The latents of each dictionary at each place.
    pub dictionaries: Vec<DictionaryExplained>,
    /// How well scores tell which explanations are true.
    pub predicts: Vec<Predicts>,
    /// Explanations that the server gave none of.
    pub failed: Option<EndpointFailed>,
}

/// What all dictionaries are explained with.
struct Common<'a> {
    store: &'a Store,
    config: &'a ExplainConfig,
    model: &'a Model,
    tokenizer: &'a Tokenizer,
    labels: Option<&'a TruthLabels>,
    planted: Option<&'a PlantedCodes<'a>>,
    vocabulary: &'a Vocabulary,
    agent: Option<&'a Agent<'a>>,
    device: &'a Device,
}

/// A dictionary at a place of the store.
struct Found {
    name: String,
    family: String,
    place: TrainingSite,
    site: String,
    codes: Codes,
}

/// What gives codes.
enum Codes {
    Learnt(Box<Autoencoder>),
    Supervised(Box<SupervisedDictionary>),
    Random(Box<RandomDictionary>),
    /// What is known of the tokens, as features: 1 where a label holds.
    Labels,
    /// Predicates planted on the tokens.
    Planted,
    /// Directions planted for them, as many numbers wide as the hook.
    Directions,
}

impl Codes {
    /// `[B, D]` and where the rows came from to `[B, F]`.
    #[expect(clippy::expect_used, reason = "features of labels are made where labels are known")]
    fn encode(
        &self,
        vectors: Tensor<2>,
        rows: &[Row],
        known: Option<&TruthLabels>,
        planted: Option<&PlantedCodes<'_>>,
    ) -> Tensor<2> {
        match self {
            Self::Learnt(autoencoder) => autoencoder.codes(vectors),
            Self::Supervised(dictionary) => {
                let labels: Vec<Labels> = rows.iter().map(|row| row.labels.clone().unwrap_or_default()).collect();
                dictionary.encode_labelled(vectors, &labels)
            }
            Self::Random(dictionary) => dictionary.encode(vectors),
            Self::Labels => {
                let known = known.expect("features of labels are made where labels are known");
                let mut codes = vec![0.0; rows.len() * known.count()];
                for (row, codes) in rows.iter().zip(codes.chunks_exact_mut(known.count().max(1))) {
                    known
                        .of_row(row)
                        .into_iter()
                        .for_each(|label| codes[label as usize] = 1.0);
                }
                kernels::from_vec(codes, [rows.len(), known.count()], &vectors.device()) // [B, P]
            }
            Self::Planted => {
                let planted = planted.expect("planted predicates are made before they are looked at");
                kernels::from_vec(
                    planted.codes(rows),
                    [rows.len(), planted.predicates.len()],
                    &vectors.device(),
                ) // [B, F]
            }
            Self::Directions => {
                let planted = planted.expect("planted predicates are made before they are looked at");
                planted.directions(rows, vectors.dims()[1], &vectors.device()) // [B, F]
            }
        }
    }

    /// What is known of the latents; those that read activations can be asked through the model.
    fn rung(&self) -> Rung {
        match self {
            Self::Learnt(_) | Self::Random(_) => Rung::Latents,
            Self::Supervised(_) | Self::Labels => Rung::Labels,
            Self::Planted => Rung::Planted,
            Self::Directions => Rung::Directions,
        }
    }
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Explained>> {
        let file: ExplainFile = self.config.read()?;
        let refused = |error: explain::Error| self.config.refused(error);
        let config = ExplainConfig::try_from(file).map_err(refused)?;
        let settings = config.get();
        let client = self.language.client(false, settings.seed)?;
        let agent = client
            .as_ref()
            .zip(self.language.mode)
            .map(|(client, mode)| Agent { client, mode });
        let run = RunFolder(self.run.clone());
        let store = Store::open(&self.activations.clone().unwrap_or_else(|| run.activations()))?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        check_model(&store, &model)?;
        let source = source(&store);
        let labels = truth_labels(&store, source.as_ref(), &tokenizer, context)?;
        let vocabulary = Vocabulary::of(&tokenizer)?;
        let planted = match (settings.planted, &source) {
            (n, Some(SourceConfig::World { .. })) if n > 0 => {
                Some(PlantedCodes::new(n, settings.seed, &store.windows()?, &vocabulary)?)
            }
            _ => None,
        };
        let held = HeldFolder::new(&run.0)?;
        let mut all = Vec::new();
        let found = self.dictionaries(&run, &store, settings, labels.is_some(), planted.is_some(), context)?;
        let rows = store.manifest().rows;
        context.note(&format!(
            "explain: {} dictionaries and places, up to {} latents each; the store of {rows} rows is read once for each",
            found.len(),
            settings.latents + settings.standing
        ));
        let bar = context.bar("explain", found.len());
        let common = Common {
            store: &store,
            config: &config,
            model: &model,
            tokenizer: &tokenizer,
            labels: labels.as_ref(),
            planted: planted.as_ref(),
            vocabulary: &vocabulary,
            agent: agent.as_ref(),
            device: &context.device,
        };
        for found in &found {
            all.push(self.one(found, &common)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let predicted = predicts(&all, settings.resamples, settings.seed);
        let explained = ExplainedFile {
            format_version: FORMAT_VERSION,
            model: model.hash(),
            store: store.hash(),
            settings,
            dictionaries: &all,
            predicts: &predicted,
        };
        held.check()?;
        artifacts::write_json(&run.0.join("explain.json"), &explained)?;
        if let Some(path) = &self.neuronpedia {
            let method = if agent.is_some() {
                ExplanationMethod::LanguageModel
            } else {
                ExplanationMethod::Offline
            };
            write_neuronpedia(path, &self.model.display().to_string(), &all, method)?;
        }
        if let Some(folder) = &self.delphi {
            write_delphi(folder, &all)?;
        }
        if let Some(path) = &self.picture {
            draw(path, &predicted)?;
        }
        let edits = edits(&run.0)?;
        let edit = |of: &DictionaryExplained| edits.get(&(of.dictionary.clone(), of.site.clone())).copied();
        held.check()?;
        let tables = table(&all, &edit, settings.resamples, settings.seed) + &predicts_table(&predicted);
        let spent = client
            .as_ref()
            .map(|client| format!("explain: {} tokens, {} requests", client.spent(), client.requests()));
        let asked = || {
            all.iter()
                .flat_map(|dictionary| dictionary.by(ExplanationMethod::LanguageModel))
        };
        let failed = asked().filter(|(_, of)| of.status == Status::EndpointFailed).count();
        let failed = (failed > 0).then(|| EndpointFailed {
            failed,
            all: asked().count(),
        });
        let explained = Explained {
            dictionaries: all,
            predicts: predicted,
            failed,
        };
        Ok(Outcome::new(explained, tables)
            .remark(format!("explain: explain.json is in {}", run.0.display()))
            .remark(spent))
    }

    fn one(&self, found: &Found, common: &Common<'_>) -> Result<DictionaryExplained> {
        let (hook, head) = found.place.place();
        let codes = |vectors: Tensor<2>| found.codes.encode(vectors, &[], None, None);
        let reader = Reader {
            model: common.model,
            tokenizer: common.tokenizer,
            hook,
            head,
            encode: &codes,
        };
        let encode =
            |vectors: Tensor<2>, rows: &[Row]| found.codes.encode(vectors, rows, common.labels, common.planted);
        let plan = Plan {
            dictionary: &found.name,
            family: &found.family,
            site: found.site.clone(),
            hook,
            head,
            role: match found.place {
                TrainingSite::Node(node) => Some(node.role),
                TrainingSite::Hook(..) => None,
            },
            encode: &encode,
            reader: (found.codes.rung() == Rung::Latents).then_some(&reader),
            latents: (!self.latents.is_empty()).then_some(&self.latents),
            agent: common.agent,
            rung: found.codes.rung(),
            planted: match found.codes {
                Codes::Planted | Codes::Directions => common.planted.map(|planted| planted.predicates.as_slice()),
                _ => None,
            },
        };
        let Common {
            store,
            config,
            labels,
            vocabulary,
            device,
            ..
        } = common;
        explain_dictionary(store, &plan, config, *labels, vocabulary, device, &mut |_| {})
            .with_context(|| format!("{} at {}", found.name, found.site))
    }

    /// Every dictionary of the run whose activations the store holds; beside them random directions, and the labels of a text.
    fn dictionaries(
        &self,
        run: &RunFolder,
        store: &Store,
        settings: &ExplainFile,
        has_labels: bool,
        is_planted: bool,
        context: &Context,
    ) -> Result<Vec<Found>> {
        let is_wanted = |name: &str| self.dictionary.is_empty() || self.dictionary.iter().any(|wanted| wanted == name);
        let mut all = Vec::new();
        for place in places(store) {
            let mut here = Vec::new();
            for name in run_folder::folders(&run.supervised())?
                .into_iter()
                .filter(|name| is_wanted(name))
            {
                let dir = run.supervised().join(&name).join(place.dir_name());
                if dir.exists() {
                    let (dictionary, _) = SupervisedDictionary::load(&dir, &context.device)?;
                    here.push(Found {
                        family: name.clone(),
                        name,
                        place,
                        site: place.to_string(),
                        codes: Codes::Supervised(Box::new(dictionary)),
                    });
                }
            }
            for name in run_folder::folders(&run.sae())?
                .into_iter()
                .filter(|name| is_wanted(name))
            {
                let dir = run.sae().join(&name).join(place.dir_name());
                if !dir.exists() {
                    continue;
                }
                let (autoencoder, origin) = Autoencoder::open(&dir, &context.device)?;
                check_site(&dir, &origin, &[place])?;
                let family = match &origin {
                    Origin::Trained(trained) => {
                        let seed = format!("-seed{}", trained.variant.seed);
                        name.strip_suffix(&seed).unwrap_or(&name).to_owned()
                    }
                    Origin::Imported { .. } => name.clone(),
                };
                here.push(Found {
                    name,
                    family,
                    place,
                    site: place.to_string(),
                    codes: Codes::Learnt(Box::new(autoencoder)),
                });
            }
            let learnt = here.iter().find_map(|found| match &found.codes {
                Codes::Learnt(autoencoder) => Some(autoencoder.as_ref()),
                _ => None,
            });
            if let (true, Some(learnt)) = (settings.random && self.latents.is_empty(), learnt) {
                here.push(Found {
                    name: "random".to_owned(),
                    family: "random".to_owned(),
                    place,
                    site: place.to_string(),
                    codes: Codes::Random(Box::new(random_directions(
                        learnt,
                        place,
                        store,
                        settings.seed,
                        context,
                    )?)),
                });
            }
            all.extend(here);
        }
        ensure!(
            !all.is_empty(),
            "{} holds no dictionary of the hooks and positions of the store; run `saelab fit` or `saelab train`, or name the store \
             that they were made from with --activations",
            run.0.display()
        );
        // Features of labels and planted predicates do not depend on the hook. Of prompts the supervised dictionaries are the labels.
        let place = all[0].place;
        let is_text = matches!(place, TrainingSite::Hook(..)) && self.latents.is_empty();
        let of_tokens = [
            ("labels", Codes::Labels, has_labels),
            ("planted", Codes::Planted, is_planted),
            ("directions", Codes::Directions, is_planted),
        ];
        for (name, codes, is_known) in of_tokens {
            if is_text && is_known && is_wanted(name) {
                all.push(Found {
                    name: name.to_owned(),
                    family: name.to_owned(),
                    place,
                    site: "tokens".to_owned(),
                    codes,
                });
            }
        }
        Ok(all)
    }
}

/// Edit accuracies of the run's evaluation, if it has one, by dictionary and hook: the mean over the attributes that are edited there,
/// with as many latents as the evaluation compares dictionaries with.
fn edits(run: &std::path::Path) -> Result<BTreeMap<(String, String), Estimate>> {
    let path = run.join(eval::report::REPORT);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let report = Report::read(&path)?;
    let mut found: BTreeMap<(String, String), Vec<Estimate>> = BTreeMap::new();
    for score in &report.scores {
        let is_edit = score.metric == Metric::EditAccuracy
            && score.method == Some(EditMethod::Greedy)
            && score.k == Some(report.config.compare_k);
        if let (true, Some(value), Some(low), Some(high)) = (is_edit, score.value, score.low, score.high) {
            // A site of one node is named after it; dictionaries of text are those of its hook.
            let hook = score.site.split_once('@').map_or(score.site.as_str(), |(hook, _)| hook);
            let n = score.n;
            for place in std::collections::BTreeSet::from([score.site.as_str(), hook]) {
                let edits = found.entry((score.dictionary.clone(), place.to_owned())).or_default();
                edits.push(Estimate { value, low, high, n });
            }
        }
    }
    let mean = |edits: Vec<Estimate>| {
        let of = |part: fn(&Estimate) -> f64| edits.iter().map(part).sum::<f64>() / edits.len() as f64;
        Estimate {
            value: of(|edit| edit.value),
            low: of(|edit| edit.low),
            high: of(|edit| edit.high),
            n: edits.len(),
        }
    };
    Ok(found.into_iter().map(|(of, edits)| (of, mean(edits))).collect())
}

/// Areas under the curve of every score, a colour a rung.
fn draw(path: &std::path::Path, predicted: &[Predicts]) -> Result<()> {
    let rows = predicted.iter().filter(|row| row.whose == Whose::Both);
    let marks: Vec<Mark> = rows
        .filter_map(|row| {
            let area = row.auroc?;
            Some(Mark {
                row: row.score.clone(),
                series: row.rung.to_string(),
                value: area.value,
                low: area.low,
                high: area.high,
            })
        })
        .collect();
    picture::intervals(
        path,
        "area under the curve: does the score tell true explanations from false ones?",
        0.5,
        &marks,
    )
}

/// Random directions with as many active latents as a dictionary has on the first rows of the store.
fn random_directions(
    learnt: &Autoencoder,
    place: TrainingSite,
    store: &Store,
    seed: u64,
    context: &Context,
) -> Result<RandomDictionary> {
    const ROWS: usize = 2048;
    let (hook, head) = place.place();
    let rows = store.shards_of(hook, head, &std::collections::BTreeSet::from([0]))?;
    let n = (rows.values.len() / rows.width).min(ROWS);
    let values = rows.values[..n * rows.width].to_vec();
    let mean = RandomDictionary::mean(&values, rows.width);
    let codes = learnt.codes(kernels::from_vec(values, [n, rows.width], &context.device)); // [n, F]
    let n_latents = codes.dims()[1];
    let active = kernels::to_vec(codes).into_iter().filter(|code| *code > 0.0).count();
    let l0 = (active as f64 / n.max(1) as f64).round().max(1.0) as usize;
    let node = match place {
        TrainingSite::Node(node) => node,
        TrainingSite::Hook(hook, head) => Node {
            hook,
            head,
            role: Role::END,
        },
    };
    Ok(RandomDictionary::new(
        &mean,
        n_latents,
        l0.min(n_latents),
        seed,
        &node,
        &context.device,
    ))
}

/// All places of a store that a dictionary may stand for: of prompts its nodes, of text its hooks and heads.
fn places(store: &Store) -> Vec<TrainingSite> {
    let mut all = Vec::new();
    for (hook, entry) in &store.manifest().hooks {
        let heads: Vec<Option<usize>> = entry
            .heads
            .map_or_else(|| vec![None], |heads| (0..heads).map(Some).collect());
        for head in heads {
            match store.manifest().roles.as_slice() {
                [] => all.push(TrainingSite::Hook(*hook, head)),
                roles => all.extend(roles.iter().map(|role| {
                    TrainingSite::Node(Node {
                        hook: *hook,
                        head,
                        role: *role,
                    })
                })),
            }
        }
    }
    all
}

fn check_model(store: &Store, model: &Model) -> Result<()> {
    let of_store = &store.manifest().provenance.model_hash;
    ensure!(
        of_store == model.hash(),
        "the store is of another model ({of_store:.12}) than --model ({:.12}); name the model that was harvested",
        model.hash()
    );
    Ok(())
}

/// What a store was harvested from; none for a store of another program.
fn source(store: &Store) -> Option<SourceConfig> {
    serde_json::from_value(store.manifest().provenance.settings["source"].clone()).ok()
}

/// What is known of the tokens of a store: of the written world and of prompts everything, of other text nothing.
fn truth_labels(
    store: &Store,
    source: Option<&SourceConfig>,
    tokenizer: &Tokenizer,
    context: &Context,
) -> Result<Option<TruthLabels>> {
    Ok(match source {
        Some(SourceConfig::World { seed, .. }) => Some(TruthLabels::of_world(&store.windows()?, tokenizer, *seed)?),
        Some(SourceConfig::Prompts { task, .. }) => Some(TruthLabels::of_task(
            run_folder::open_task(task, tokenizer, context)?.as_ref(),
        )),
        Some(SourceConfig::Text { .. }) | None => None,
    })
}
