//! `saelab splice`: what autoencoders and transcoders of a run lose on running text, against two ablations: each alone, and sets of
//! them in one pass.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use artifacts::HeldFolder;
use causal::{Change, Fidelity, Insert, Place, SpliceTask, SpliceText};
use dictionaries::{Autoencoder, Summary};
use lm::Model;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::WithContext as _;
use crate::estimate;
use crate::hook_autoencoders::{self, AtHook, Loaded, TextFile, TextSettings, Together};
use crate::left_out::LeftOut;
use crate::made::{Made, ModelMade};
use crate::run_folder::{self, RunFolder};
use crate::splice_table;
use crate::wording::counted;
use crate::{ConfigError, Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The text, the model and the run.
    pub text: TextSettings,
}

/// What made `splice.json`: the text is in its settings.
const SPLICE_MADE: &str = "splice.made.json";

/// Reads `splice.json`: a list with an entry for each dictionary alone.
///
/// # Errors
/// The file cannot be read, or was written by another version of the program.
pub(crate) fn read(path: &Path) -> Result<Vec<Spliced>> {
    let value: Value = artifacts::read_json(path)?;
    serde_json::from_value(value).with_context(|| {
        let path = path.display();
        format!("{path} is damaged or of another version; run `saelab splice` again")
    })
}

/// One dictionary of `splice.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Spliced {
    /// Its name.
    pub dictionary: String,
    /// How it was trained, or what its activation is where it was imported.
    pub architecture: String,
    /// What it reads.
    pub site: String,
    /// What it writes.
    pub writes: String,
    /// Hash of the model.
    pub model: String,
    /// Hash of the files of the autoencoder.
    pub identity: String,
    /// What it reached on the activations that its training held out, or, where it held out none, on those it was trained on.
    pub summary: Option<Summary>,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Cross-entropy of the untouched model, in nats.
    pub ce_clean: f64,
    /// How it reconstructs the vectors of the untouched model on this text.
    pub fidelity: Fidelity,
    /// With the reconstruction in place.
    pub spliced: Change,
    /// With zeros in place.
    pub zero: Change,
    /// With the mean in place.
    pub mean: Change,
    /// Share of the cost of zeros that the reconstruction avoids; absent when that cost is too small.
    pub recovered_from_zero: Option<f64>,
    /// Share of the cost of mean ablation that the reconstructions avoid; absent when that cost is too small.
    pub recovered_from_mean: Option<f64>,
}

/// Dictionaries in one pass.
#[derive(Debug, Serialize, Deserialize)]
pub struct SplicedTogether {
    /// Which.
    pub dictionaries: Vec<Member>,
    /// Hash of the model.
    pub model: String,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Cross-entropy of the untouched model, in nats.
    pub ce_clean: f64,
    /// With all reconstructions in place.
    pub spliced: Change,
    /// With zeros at all that they write.
    pub zero: Change,
    /// With the mean at all that they write.
    pub mean: Change,
    /// Share of the cost of zeros that the reconstructions avoid; absent when that cost is too small.
    pub recovered_from_zero: Option<f64>,
    /// Share of the cost of mean ablation that the reconstructions avoid; absent when that cost is too small.
    pub recovered_from_mean: Option<f64>,
}

/// A dictionary of a set.
#[derive(Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub dictionary: String,
    /// What it reads.
    pub site: String,
    /// What it writes.
    pub writes: String,
    /// Hash of its files.
    pub identity: String,
    /// Whether what it gets wrong of the untouched model was added.
    pub error_term: bool,
}

/// What a run's dictionaries lose on a text.
#[derive(Debug)]
pub struct SplicedRun {
    /// Each dictionary alone.
    pub alone: Vec<Spliced>,
    /// Sets of them in one pass.
    pub together: Vec<SplicedTogether>,
}

/// A dictionary of the run, and what it reads and writes.
struct Entry {
    dictionary: String,
    site: String,
    reads: Place,
    writes: Place,
    identity: String,
    autoencoder: Arc<Autoencoder>,
}

impl Entry {
    /// The dictionary in a pass.
    fn insert(&self, error_term: bool) -> Insert {
        let autoencoder = self.autoencoder.clone();
        let function = move |x| autoencoder.reconstruct(x); // [n, D_out]
        Insert {
            error_term,
            ..Insert::between(self.reads, self.writes, function)
        }
    }

    fn is_called(&self, named: &str) -> bool {
        hook_autoencoders::is_called(named, &self.dictionary, &self.site)
    }
}

/// The ablations of places that are written together, each measured once.
struct Tasks<'t, 'a> {
    text: &'t SpliceText<'a>,
    by_places: BTreeMap<Vec<Place>, SpliceTask<'t, 'a>>,
}

impl<'t, 'a> Tasks<'t, 'a> {
    fn of(&mut self, mut places: Vec<Place>) -> Result<&SpliceTask<'t, 'a>, causal::Error> {
        places.sort();
        let task = match self.by_places.remove(&places) {
            Some(task) => task,
            None => self.text.task(&places)?,
        };
        Ok(self.by_places.entry(places).or_insert(task))
    }
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<SplicedRun>> {
        let settings = self.text;
        let file: TextFile = settings.config.read()?;
        let Some(packing) = file.source.packing() else {
            bail!("prompts are no text");
        };
        let run = RunFolder(settings.run);
        let (model, tokenizer) = run_folder::load_model(&settings.model, settings.load, context)?;
        let of_model = ModelMade::new(&settings.model, &run_folder::model_folder(&settings.model)?, &model);
        let tokenizer = file.source.tokenizer(tokenizer);
        let mut documents = run_folder::documents(&file.source, &tokenizer, context)?;
        let windows = packing.windows(&mut documents, &tokenizer);
        if let Some(skipped) = documents.skipped() {
            context.note(&format!("splice: {skipped}"));
        }
        let windows: Vec<Vec<u32>> = windows?.into_iter().map(|window| window.ids).collect();
        let special = tokenizer.special_ids();
        let mut left_out = LeftOut::new("splice", context);
        let sites = hook_autoencoders::all(&run, &mut left_out)?;
        file.check(&sites)?;
        let held = HeldFolder::new(&run.0)?;
        let made = file.made("splice", context).with_model(Some(of_model));
        let path = run.0.join("splice.json");
        made.check_place(
            &path,
            Made::read_from(&run.0.join(SPLICE_MADE)).as_ref(),
            settings.replace,
        )?;
        let n = sites.iter().map(|site| site.autoencoders.len()).sum::<usize>();
        let passes = estimate::splice_passes(sites.len(), n, file.together.len());
        context.note(&format!(
            "splice: {}: {passes} passes of {}",
            counted(n, "autoencoder"),
            estimate::of_passes(SpliceText::pass_cost(&model, &windows), passes, &model, context)
        ));
        let bar = context.bar("splice", n + file.together.len());
        let text = SpliceText::new(&model, &special, &windows)?;
        let mut tasks = Tasks {
            text: &text,
            by_places: BTreeMap::new(),
        };
        let (mut all, mut entries) = (Vec::new(), Vec::new());
        for site in &sites {
            for (dictionary, dir) in &site.autoencoders {
                bar.inc(1);
                let writes = file.writes.get(dictionary).copied();
                let loaded = hook_autoencoders::load(dir, site.place(), writes, &model, context);
                let Some(loaded) = left_out.keep(loaded)? else {
                    continue;
                };
                let (entry, spliced) = alone(site, dictionary, dir, loaded, &model, &mut tasks)?;
                entries.push(entry);
                all.push(spliced);
            }
        }
        left_out.check_rest(all.len())?;
        // What writes the same stands together.
        all.sort_by(|a: &Spliced, b: &Spliced| a.site.cmp(&b.site).then_with(|| a.writes.cmp(&b.writes)));
        let mut together = Vec::new();
        for set in &file.together {
            bar.inc(1);
            together.push(in_one_pass(set, &entries, &model, &mut tasks)?);
        }
        bar.finish_and_clear();
        held.check()?;
        // First what an earlier run found for other sets goes, so that the two files are never of different runs.
        let of_sets = run.0.join("splice-together.json");
        artifacts::remove_file(&of_sets)?;
        made.write_as(&run.0.join(SPLICE_MADE))?;
        artifacts::write_json(&path, &all)?;
        if !together.is_empty() {
            artifacts::write_json(&of_sets, &together)?;
        }
        held.check()?;
        let tables = splice_table::alone(&all) + &splice_table::together(&together);
        Ok(Outcome::new(SplicedRun { alone: all, together }, tables)
            .remark(format!("splice: splice.json is in {}", run.0.display()))
            .remark(left_out.again()))
    }
}

/// Measures one dictionary alone.
fn alone(
    site: &AtHook,
    dictionary: &str,
    dir: &Path,
    loaded: Loaded,
    model: &Model,
    tasks: &mut Tasks<'_, '_>,
) -> Result<(Entry, Spliced)> {
    let text = tasks.text;
    let writes = loaded.writes.with_context(|| {
        format!(
            "{} is a transcoder and does not say which hook it writes; name the hook in the config: [writes], {dictionary:?} = HOOK",
            dir.display()
        )
    })?;
    let entry = Entry {
        dictionary: dictionary.to_owned(),
        site: site.site.clone(),
        reads: site.place(),
        writes,
        identity: loaded.identity,
        autoencoder: Arc::new(loaded.autoencoder),
    };
    let what = || format!("{dictionary} at {}", site.site);
    let task = tasks.of(vec![writes]).with_context(what)?;
    let spliced = task.change(&[entry.insert(false)]).with_context(what)?;
    let fidelity = task
        .fidelity(entry.reads, entry.writes, &entry.autoencoder)
        .with_context(what)?;
    let trained = loaded.trained;
    let found = Spliced {
        dictionary: entry.dictionary.clone(),
        model: model.hash().to_owned(),
        identity: entry.identity.clone(),
        fidelity,
        architecture: match &trained {
            Some(trained) => trained.variant.architecture.name().to_owned(),
            None => format!("imported {}", entry.autoencoder.activation.saelens_name()),
        },
        site: entry.site.clone(),
        writes: writes.to_string(),
        summary: trained.map(|trained| trained.summary),
        tokens: text.tokens,
        ce_clean: text.ce_clean,
        spliced,
        zero: task.zero,
        mean: task.mean,
        recovered_from_zero: text.recovered(spliced, task.zero),
        recovered_from_mean: text.recovered(spliced, task.mean),
    };
    Ok((entry, found))
}

/// Measures a set in one pass.
fn in_one_pass(set: &Together, entries: &[Entry], model: &Model, tasks: &mut Tasks<'_, '_>) -> Result<SplicedTogether> {
    let text = tasks.text;
    let named = |names: &[String]| -> Result<Vec<bool>, ConfigError> {
        let is_measured = |name: &&String| entries.iter().any(|entry| entry.is_called(name));
        if let Some(missing) = names.iter().find(|name| !is_measured(name)) {
            return Err(ConfigError(format!("`together` names {missing}, which is left out")));
        }
        let is_named = |entry: &Entry| names.iter().any(|name| entry.is_called(name));
        Ok(entries.iter().map(is_named).collect())
    };
    let (members, errors) = (named(&set.dictionaries)?, named(&set.with_error_terms)?);
    if let Some(((entry, _), _)) = entries
        .iter()
        .zip(&members)
        .zip(&errors)
        .find(|((_, member), error)| **error && !**member)
    {
        let reason = format!(
            "`together`: `with_error_terms` names {}/{}, which is not among `dictionaries`",
            entry.dictionary, entry.site
        );
        return Err(ConfigError(reason).into());
    }
    let chosen = entries.iter().zip(errors).zip(members);
    let chosen: Vec<(&Entry, bool)> = chosen.filter(|(_, member)| *member).map(|(entry, _)| entry).collect();
    let inserts: Vec<Insert> = chosen.iter().map(|(entry, error)| entry.insert(*error)).collect();
    let what = || format!("together: {}", set.dictionaries.join(", "));
    let task = tasks
        .of(chosen.iter().map(|(entry, _)| entry.writes).collect())
        .with_context(what)?;
    let spliced = task.change(&inserts).with_context(what)?;
    let member = |(entry, error_term): (&Entry, bool)| Member {
        dictionary: entry.dictionary.clone(),
        site: entry.site.clone(),
        writes: entry.writes.to_string(),
        identity: entry.identity.clone(),
        error_term,
    };
    Ok(SplicedTogether {
        dictionaries: chosen.into_iter().map(member).collect(),
        model: model.hash().to_owned(),
        tokens: text.tokens,
        ce_clean: text.ce_clean,
        spliced,
        zero: task.zero,
        mean: task.mean,
        recovered_from_zero: text.recovered(spliced, task.zero),
        recovered_from_mean: text.recovered(spliced, task.mean),
    })
}
