//! `saelab truth`: latents against all that the written world knows of its tokens.

use std::fmt::Write as _;
use std::path::Path;

use activations::SourceConfig;
use artifacts::HeldFolder;
use burn::tensor::{Tensor, activation::relu};
use dictionaries::DENSE;
use eval::{FamilyScore, Truth, WorldSample};
use report::{Cell, Group, Table};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tasks::world::World;

use crate::error::WithContext as _;
use crate::hook_autoencoders::{self, TextFile, TextSettings};
use crate::left_out::LeftOut;
use crate::made::{Made, ModelMade};
use crate::run_folder::{self, RunFolder};
use crate::{Context, Error, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The text, the model and the run.
    pub text: TextSettings,
}

/// Version of `truth.json`; 4 names the latents of each predicate and says what made it.
const FORMAT_VERSION: u32 = 4;

/// What `truth.json` holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TruthFile {
    format_version: u32,
    /// What made it: the documents are in its settings.
    pub(crate) made: Made,
    pub(crate) scored: Vec<Scored>,
}

impl TruthFile {
    /// Reads `truth.json`, of this version only.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let value: Value = artifacts::read_json(path)?;
        ensure!(
            value["format_version"] == FORMAT_VERSION,
            "{} is of another version; run `saelab truth` again",
            path.display()
        );
        serde_json::from_value(value).with_context(|| format!("{} is damaged", path.display()))
    }
}

/// One dictionary of `truth.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scored {
    /// Its name.
    pub dictionary: String,
    /// What it reads.
    pub site: String,
    /// Hash of the model.
    pub model: String,
    /// Hash of the files of the autoencoder; none for the dimensions of the hook itself.
    pub identity: Option<String>,
    /// Tokens of all documents; half of them are scored.
    pub tokens: usize,
    /// How well its latents tell the world's predicates.
    pub truth: Truth,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Vec<Scored>>> {
        let settings = self.text;
        let file: TextFile = settings.config.read()?;
        let refused = |reason: &str| settings.config.refused(reason);
        file.source.validate().map_err(|error| refused(&error.to_string()))?;
        let SourceConfig::World { documents, seed, .. } = &file.source else {
            return Err(refused("`source` must be of kind \"world\": no other text has labels").into());
        };
        let world = World::new();
        let documents: Vec<_> = (0..*documents).map(|index| world.document(*seed, index)).collect();
        let (model, tokenizer) = run_folder::load_model(&settings.model, settings.load, context)?;
        let of_model = ModelMade::new(&settings.model, &run_folder::model_folder(&settings.model)?, &model);
        let run = RunFolder(settings.run);
        let mut left_out = LeftOut::new("truth", context);
        let sites = hook_autoencoders::all(&run, &mut left_out)?;
        file.check(&sites)?;
        let held = HeldFolder::new(&run.0)?;
        let made = file.made("truth", context).with_model(Some(of_model));
        let path = run.0.join("truth.json");
        made.check_place(
            &path,
            TruthFile::read(&path).ok().map(|file| file.made).as_ref(),
            settings.replace,
        )?;
        let bar = context.bar("truth", sites.iter().map(|site| site.autoencoders.len() + 1).sum());
        let mut all = Vec::new();
        for site in sites {
            let place = site.place();
            let sample = WorldSample::new(&model, &tokenizer, &documents, site.hook, site.head)?;
            let mut add = |dictionary: String, identity, encode: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                bar.inc(1);
                let truth = sample
                    .score(encode)
                    .with_context(|| format!("{dictionary} at {}", site.site))?;
                all.push(Scored {
                    dictionary,
                    site: site.site.clone(),
                    model: model.hash().to_owned(),
                    identity,
                    tokens: sample.tokens(),
                    truth,
                });
                Ok::<(), Error>(())
            };
            // The dimensions of the hook itself, each in both directions from its mean.
            let mean = sample.mean(); // [1, D]
            add("neurons".to_owned(), None, &|x| {
                let x = x - mean.clone();
                Tensor::cat(vec![relu(x.clone()), relu(-x)], 1)
            })?;
            for (dictionary, dir) in site.autoencoders {
                // A transcoder's latents are of what it reads.
                let writes = file.writes.get(&dictionary).copied();
                let loaded = hook_autoencoders::load(&dir, place, writes, &model, context);
                let Some(loaded) = left_out.keep(loaded)? else {
                    continue;
                };
                add(dictionary, Some(loaded.identity), &|x| loaded.autoencoder.codes(x))?;
            }
        }
        bar.finish_and_clear();
        left_out.check_rest(all.iter().filter(|scored| scored.identity.is_some()).count())?;
        let all = TruthFile {
            format_version: FORMAT_VERSION,
            made,
            scored: all,
        };
        held.check()?;
        artifacts::write_json(&path, &all)?;
        held.check()?;
        let table = table(&all.scored);
        Ok(Outcome::new(all.scored, table)
            .remark(format!("truth: truth.json is in {}", run.0.display()))
            .remark(left_out.again()))
    }
}

fn table(all: &[Scored]) -> String {
    let mut out = String::new();
    for rows in all.chunk_by(|a, b| a.site == b.site) {
        let scored = rows
            .iter()
            .filter_map(|row| Some((row, row.truth.families.get("all")?)));
        let scored: Vec<(&Scored, &FamilyScore)> = scored.collect();
        let Some((first, everything)) = scored.first() else {
            continue;
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{}: {} predicates on {} tokens; means over predicates, MCC by family",
            first.site, everything.predicates, first.tokens
        );
        let columns = ["F1", "MCC", "AP", "found"].map(|heading| Group::column(heading, 6));
        let mut columns = columns.to_vec();
        columns.push(Group::column("explained", 9));
        columns.extend(["silent", "dense"].map(|heading| Group::column(heading, 6)));
        columns.extend(families(first).map(|(name, _)| Group::column(name, 9)));
        let mut table = Table::new("", 24, columns);
        for (row, everything) in scored {
            let truth = &row.truth;
            let cells = [
                everything.f1,
                everything.mcc,
                everything.average_precision,
                everything.found,
                truth.explained,
                truth.silent,
                truth.dense,
            ];
            let cells = cells.into_iter().chain(families(row).map(|(_, score)| score.mcc));
            table.push(
                row.dictionary.as_str(),
                cells.map(|value| Cell::number(value, 3)).collect(),
            );
        }
        out += &table.text();
    }
    let notes = format!(
        "\nfound: predicates whose latent reaches an MCC of 0.5; explained: active latents whose predicate does; dense: latents \
         active on more than {:.0} % of the tokens\n",
        100.0 * DENSE
    );
    out + &notes
}

/// The families of predicates, without all of them together.
fn families(row: &Scored) -> impl Iterator<Item = (&String, &FamilyScore)> {
    row.truth.families.iter().filter(|(name, _)| name.as_str() != "all")
}
