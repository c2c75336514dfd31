//! A training by several processes: the autoencoders of all sites as units of the work list of an experiment.

use std::collections::BTreeMap;

use activations::Store;
use activations::store::HookEntry;
use sae::TrainConfig;
use work::{Share, Unit, Work, WorkList};

use crate::error::WithContext as _;
use crate::share;
use crate::train::Asked;
use crate::train_site::SiteTraining;
use crate::training_cost;
use crate::training_folder::{Standing, TrainingFolder};
use crate::training_site::TrainingSite as Site;
use crate::wording::counted;
use crate::{Error, Result};

/// The autoencoders of a grid, as the units of a work list.
pub(crate) struct GridShare<'a> {
    asked: Asked<'a>,
    /// Site of each unit, and its place among the variants of the config, by the unit's name.
    places: BTreeMap<String, (Site, usize)>,
}

impl<'a> GridShare<'a> {
    /// Trains the autoencoders of one share, then those that nobody works on.
    pub(crate) fn train(asked: Asked<'a>, share: Share, sites: &[Site]) -> Result<()> {
        let Asked {
            config,
            run,
            source,
            context,
            ..
        } = asked;
        let store = &source.store;
        let (units, places) = units(sites, config, store);
        let hashes: Vec<String> = config.variants.iter().map(|variant| config.hash(variant)).collect();
        let key = share::key(&[], &hashes, &format!("{} {}", store.hash(), joined(sites)))?;
        let list = WorkList::open(&share::folder(&run.0), "train", &key, units)?;
        let mut worker = list.worker(share, share::usage)?;
        if storage::process::is_remote(&run.0) {
            // Claims of workers elsewhere are not seen here, so none of theirs is taken over.
            worker = worker.own_only();
        }
        let mut grid = Self { asked, places };
        // Before the first step of any of them.
        for unit in &list.units()[worker.own()] {
            grid.is_done(unit)?;
        }
        context.note(&format!(
            "train: {} of {} of {} steps at {}",
            worker.own().len(),
            counted(list.units().len(), "autoencoder"),
            config.steps,
            counted(sites.len(), "site")
        ));
        let outcome = worker.run(&mut grid)?;
        context.note(&format!(
            "train: part {share}: {} autoencoders trained, {} failed, {} are trained by other processes now",
            outcome.done, outcome.failed, outcome.elsewhere
        ));
        outcome.error.map_or(Ok(()), Err)
    }
}

impl Work for GridShare<'_> {
    type Error = Error;

    fn is_done(&mut self, unit: &Unit) -> Result<bool> {
        let Asked {
            settings,
            config,
            run,
            source,
            context,
        } = self.asked;
        let (site, place) = self.places[&unit.name];
        let folder = TrainingFolder::new(run, &config.variants[place], site, config, source.store.hash());
        Ok(folder.check(&context.device, settings.replace)? == Standing::Finished)
    }

    fn run(&mut self, units: &[&Unit]) -> Result<()> {
        let places: Vec<(Site, usize)> = units.iter().map(|unit| self.places[&unit.name]).collect();
        let Some(&(site, _)) = places.first() else {
            return Ok(());
        };
        let all = self.asked.config;
        let variants = places.iter().map(|&(_, place)| all.variants[place].clone());
        let config = TrainConfig {
            variants: variants.collect(),
            ..all.clone()
        };
        SiteTraining::new(self.asked, site, &config)
            .run()
            .with_context(|| format!("train {site}"))
    }
}

/// The autoencoders of a grid as units, those of a site in one group, and where each is: its site and its place among the variants.
fn units(sites: &[Site], config: &TrainConfig, store: &Store) -> (Vec<Unit>, BTreeMap<String, (Site, usize)>) {
    let (mut units, mut places) = (Vec::new(), BTreeMap::new());
    for &site in sites {
        let (hook, head) = site.place();
        let entry = store.manifest().hooks.get(&hook);
        let heads = |entry: &HookEntry| head.and(entry.heads).unwrap_or(1);
        let width = entry.map_or(1, |entry| entry.width / heads(entry));
        for (place, variant) in config.variants.iter().enumerate() {
            let name = format!("{site} {}", variant.name);
            places.insert(name.clone(), (site, place));
            units.push(Unit {
                name,
                group: site.to_string(),
                // The latents of a site are a multiple of its width.
                cost: training_cost::products(variant) * (width * width) as f64,
            });
        }
    }
    (units, places)
}

fn joined(sites: &[Site]) -> String {
    let names: Vec<String> = sites.iter().map(Site::to_string).collect();
    names.join(" ")
}
