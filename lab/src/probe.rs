//! `saelab probe`: k-sparse probes and absorption on the written world's labels, beside the ceiling of a probe of the whole vector,
//! the floor of random directions, and what another seed changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use activations::{Node, SourceConfig};
use artifacts::HeldFolder;
use burn::tensor::{Tensor, activation::relu};
use dictionaries::baseline::RandomSize;
use dictionaries::{Directions, Encoder, RandomDictionary, Rows};
use eval::{Probes, Truth, WorldSample};
use report::{Cell, Group, Table};
use serde::Serialize;
use tasks::world::World;

use crate::hook_autoencoders::{self, TextFile, TextSettings};
use crate::left_out::LeftOut;
use crate::quality::without_seed;
use crate::run_folder::{self, RunFolder};
use crate::{Context, Error, Outcome, Result};

/// Latents of the probes.
const KS: [usize; 3] = [1, 4, 16];
/// Draws of random directions for each width.
const DRAWS: usize = 3;
/// Version of `probes.json`.
const FORMAT_VERSION: u32 = 1;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The text, the model and the run.
    pub text: TextSettings,
}

/// One dictionary at one hook.
#[derive(Debug, Serialize)]
struct Probed {
    /// What it shares with those that differ from it by their seed or draw.
    family: String,
    dictionary: String,
    site: String,
    width: usize,
    l0: f64,
    f1: f64,
    mcc: f64,
    probes: Probes,
}

/// What `probes.json` holds.
#[derive(Debug, Serialize)]
struct ProbesFile {
    format_version: u32,
    model: String,
    probed: Vec<Probed>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        let settings = self.text;
        let file: TextFile = settings.config.read()?;
        let refused = |reason: &str| settings.config.refused(reason);
        file.source.validate().map_err(|error| refused(&error.to_string()))?;
        let SourceConfig::World { documents, seed, .. } = file.source else {
            return Err(refused("`source` must be of kind \"world\": no other text has labels").into());
        };
        let world = World::new();
        let documents: Vec<_> = (0..documents).map(|index| world.document(seed, index)).collect();
        let (model, tokenizer) = run_folder::load_model(&settings.model, settings.load, context)?;
        let run = RunFolder(settings.run);
        let mut left_out = LeftOut::new("probe", context);
        let sites = hook_autoencoders::all(&run, &mut left_out)?;
        file.check(&sites)?;
        let held = HeldFolder::new(&run.0)?;
        let bar = context.bar("probe", sites.iter().map(|site| site.autoencoders.len()).sum());
        let mut probed = Vec::new();
        for site in sites {
            let place = site.place();
            let sample = WorldSample::new(&model, &tokenizer, &documents, site.hook, site.head)?;
            let mut add =
                |family: String, dictionary: String, directions: &Rows, encode: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                    let (codes, width) = sample.codes(encode)?;
                    let active: usize = codes.iter().map(Vec::len).sum();
                    let Truth { families, .. } = sample.score_codes(&codes, width);
                    let all = &families["all"];
                    probed.push(Probed {
                        family,
                        dictionary,
                        site: site.site.clone(),
                        width,
                        l0: active as f64 / codes.len().max(1) as f64,
                        f1: all.f1,
                        mcc: all.mcc,
                        probes: sample.probes(&codes, directions, &KS),
                    });
                    Ok::<f64, Error>(active as f64 / codes.len().max(1) as f64)
                };
            // Number of dictionaries of each width, and the sum of their active latents: what random directions are matched to.
            let mut widths: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
            for (dictionary, dir) in &site.autoencoders {
                let writes = file.writes.get(dictionary).copied();
                let loaded = hook_autoencoders::load(dir, place, writes, &model, context);
                let Some(loaded) = left_out.keep(loaded)? else {
                    continue;
                };
                let directions = Directions::of(&loaded.autoencoder).rows;
                let encode = |x| loaded.autoencoder.codes(x);
                let l0 = add(
                    without_seed(dictionary).to_owned(),
                    dictionary.clone(),
                    &directions,
                    &encode,
                )?;
                let of_width = widths.entry(directions.len()).or_default();
                *of_width = (of_width.0 + 1.0, of_width.1 + l0);
                bar.inc(1);
            }
            let vectors = Rows::from_tensor(sample.vectors().clone()); // [N, D]
            let node = Node {
                hook: site.hook,
                head: site.head,
                role: tasks::Role::END,
            };
            for (n_latents, (n, sum)) in widths {
                for draw in 0..DRAWS {
                    let size = RandomSize {
                        width: vectors.width(),
                        n_latents,
                        seed: 0,
                        draw,
                        node: &node,
                        device: &context.device,
                    };
                    let random = RandomDictionary::matched_l0(vectors.values(), sum / n, &size)?.dictionary;
                    let family = format!("random, {n_latents} rows");
                    let directions = Directions::of(&random).rows;
                    let name = format!("{family}, draw {draw}");
                    add(family, name, &directions, &|x| random.encode(x))?;
                }
            }
            let mean = sample.mean(); // [1, D]
            let width = vectors.width();
            let axes = (0..2 * width * width).map(|at| {
                let (latent, column) = (at / width, at % width);
                let sign = if latent < width { 1.0 } else { -1.0 };
                if latent % width == column { sign } else { 0.0 }
            });
            let directions = Rows::new(width, axes.collect());
            add("neurons".to_owned(), "neurons".to_owned(), &directions, &|x| {
                let x = x - mean.clone();
                Tensor::cat(vec![relu(x.clone()), relu(-x)], 1)
            })?;
        }
        bar.finish_and_clear();
        held.check()?;
        let all = ProbesFile {
            format_version: FORMAT_VERSION,
            model: model.hash().to_owned(),
            probed,
        };
        artifacts::write_json(&run.0.join("probes.json"), &all)?;
        Ok(Outcome::new((), table(&all.probed)).remark(format!("probe: probes.json is in {}", run.0.display())))
    }
}

/// Mean over seeds or draws, with their standard deviation.
fn cell(values: &[f64]) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    match values.len() {
        0 => "-".to_owned(),
        1 => format!("{mean:.3}"),
        _ => {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            format!("{mean:.3} ±{:.3}", (squares / (n - 1.0)).sqrt())
        }
    }
}

/// The columns of the table and their widths.
const COLUMNS: [(&str, usize); 9] = [
    ("seeds", 4),
    ("width", 6),
    ("L0", 14),
    ("F1", 14),
    ("MCC", 14),
    ("k = 1", 14),
    ("k = 4", 14),
    ("k = 16", 14),
    ("absorption", 14),
];

fn table(all: &[Probed]) -> String {
    let mut families: Vec<(&str, &str)> = Vec::new();
    for of in all {
        if !families.contains(&(of.site.as_str(), of.family.as_str())) {
            families.push((&of.site, &of.family));
        }
    }
    let mut out = String::new();
    for of_site in families.chunk_by(|a, b| a.0 == b.0) {
        let mut table: Option<Table> = None;
        for &(site, family) in of_site {
            let of = all.iter().filter(|of| of.site == site && of.family == family);
            let members: Vec<&Probed> = of.collect();
            let Some(first) = members.first() else { continue };
            let table = table.get_or_insert_with(|| {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    out,
                    "{site}: {} predicates; area under the ROC curve of probes; of the whole vector {:.3}",
                    first.probes.predicates, first.probes.ceiling
                );
                let columns = COLUMNS.map(|(heading, width)| Group::column(heading, width));
                Table::new("", 22, columns.to_vec())
            });
            let of = |get: &dyn Fn(&Probed) -> Option<f64>| {
                Cell::text(cell(&members.iter().filter_map(|of| get(of)).collect::<Vec<_>>()))
            };
            let area = |place: usize| of(&|of| of.probes.areas.get(place).map(|(_, area)| *area));
            let cells = vec![
                Cell::Count(members.len()),
                Cell::Count(first.width),
                of(&|of| Some(of.l0)),
                of(&|of| Some(of.f1)),
                of(&|of| Some(of.mcc)),
                area(0),
                area(1),
                area(2),
                of(&|of| of.probes.absorption),
            ];
            table.push(family, cells);
        }
        out += &table.map_or_else(String::new, |table| table.text());
    }
    out + "\nmean ± standard deviation between seeds or draws; random rows are the floor of their width, with as many active latents as the\n\
           autoencoders have in the mean. absorption: share of the rows with the predicate, of those that its own latents or another one\n\
           speak for, on which another one does\n"
}
