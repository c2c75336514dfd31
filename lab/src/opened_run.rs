//! What measuring the dictionaries of an experiment begins with: model, task, sites and activations that belong together.

use std::path::Path;

use activations::Store;
use causal::Sites;
use eval::{DictionarySet, EvalConfig};
use lm::{LoadOptions, Model};
use tasks::Task;

use crate::left_out::LeftOut;
use crate::run_folder::{self, RunFolder};
use crate::{Context, Result};
use crate::{baselines, dictionary_sets};

/// A model and the experiment that it is measured in.
pub(super) struct OpenedRun {
    pub(super) model: Model,
    pub(super) task: Box<dyn Task>,
    pub(super) sites: Sites,
    pub(super) store: Store,
}

impl OpenedRun {
    /// Opens all of them; refuses activations of another model, tokenizer or task.
    pub(super) fn open(
        model_path: &Path,
        options: LoadOptions,
        sites: &Path,
        activations: &Path,
        context: &Context,
    ) -> Result<Self> {
        let (model, tokenizer) = run_folder::load_model(model_path, options, context)?;
        let (sites, schema) = run_folder::read_sites(sites)?;
        let task = run_folder::open_task(&sites.task, &tokenizer, context)?;
        let store = Store::open(activations)?;
        let harvested = &store.manifest().provenance.model_hash;
        ensure!(
            harvested == model.hash(),
            "{} was harvested from another model ({harvested:.12}) than {} ({:.12}); run `saelab harvest` into a new folder (weights \
             changed by `refactor_attention` or kept in another `model_dtype` count as another model)",
            activations.display(),
            model_path.display(),
            model.hash()
        );
        let of_store = &store.manifest().provenance.tokenizer_hash;
        ensure!(
            of_store == tokenizer.hash(),
            "{} was harvested with another tokenizer ({of_store:.12}) than that of {} ({:.12}); run `saelab harvest` into a new folder",
            activations.display(),
            model_path.display(),
            tokenizer.hash()
        );
        run_folder::check_task(&store, &sites, &schema)?;
        Ok(Self {
            model,
            task,
            sites,
            store,
        })
    }

    /// All dictionaries of the experiment, and the baselines that `config` asks for.
    pub(super) fn sets(&self, run: &RunFolder, config: &EvalConfig, context: &Context) -> Result<Vec<DictionarySet>> {
        let nodes = self.sites.nodes();
        let mut sets = dictionary_sets::load(
            run,
            &self.store,
            &nodes,
            &[],
            &mut LeftOut::new("eval", context),
            context,
        )?;
        let baselines = baselines::make(config, &sets, &self.store, &nodes, context)?;
        sets.extend(baselines);
        Ok(sets)
    }
}
